/** Whatever fails on the way, the rules remember what the store holds, and nothing else. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import type { RuleDefinition } from "../../model/rule.ts";
import { RecorderRig } from "../../testing/recorder-rig.ts";
import { AGENT, rule } from "../../testing/rule-rig.ts";
import { Seeded } from "../../testing/seeded.ts";
import { RuleSet } from "../rules/rule-set.ts";

let rig: RecorderRig;
beforeEach(() => void (rig = new RecorderRig()));
afterEach(() => rig.remove());

const by = "event.subject";
const emit = { kind: "emit" as const, type: "again", subject: null, severity: null, data: {} };
const finding = {
  kind: "finding" as const,
  severity: "error" as const,
  title: "t",
  key: null,
  data: {},
  resolvedWhen: 'event.type == "c"',
};
const RULES: RuleDefinition[] = [
  rule("cool", { on: ["*"], by, cooldownMs: 40 }),
  rule("often", { on: ["*"], throttle: { count: 3, perMs: 100 }, outcomes: [emit] }),
  rule("then", {
    on: ["*"],
    by,
    sequence: { withinMs: 200, steps: ["a", "b", "c"].map((type) => ({ types: [type], when: null })) },
  }),
  rule("window", {
    on: ["*"],
    by,
    types: ["a", "b"],
    window: { overMs: 150, compute: "distinct", of: "event.type", is: "window.value == 2" },
  }),
  rule("found", { on: ["*"], by, types: ["b"], outcomes: [finding] }),
  rule("late", { on: ["*"], by, types: ["c"], debounceMs: 30 }),
  rule("gone", { on: ["*"], by, types: ["a"], absence: { forMs: 60 } }),
];
const WRITES = [
  "commit",
  "commitEvents",
  "rule_states.put",
  "rule_states.drop",
  "window_entries.insert",
  "findings.put",
];

test.each([1, 2, 3, 4, 5, 6])("seed %d", async (seed) => {
  const random = new Seeded(seed * 31);
  await rig.open(RULES);
  for (let round = 0; round < 25; round++) {
    if (random.chance(0.5)) orderFault(random);
    const emits = Array.from({ length: random.int(1, 4) }, (_, trigger) =>
      rig.recorder.record(`t${trigger}`, batch(random), undefined),
    );
    await Promise.allSettled(emits);
    await rig.clock.advance(random.int(0, 60));
  }
  // Faults that nothing has met yet are met here; then a commit goes well, and the memory is the store's.
  await succeed(() => rig.recorder.record("t", [{ type: "x", subject: "k" }], undefined));
  await rig.recorder.stop();
  const fresh = new RuleSet(RULES, { agent: AGENT, newId: () => "id", maxEventBytes: 1000 });
  fresh.load(await rig.store.ruleMemory(fresh.keep), rig.clock.trusted());
  for (let probe = 0; probe < 30; probe++) {
    const events = batch(random);
    expect(seen(rig.rules, events, probe), `probe ${probe}`).toEqual(seen(fresh, events, probe));
  }
});

function orderFault(random: Seeded): void {
  const label = random.pick(WRITES);
  const at = label === "commit" ? "before" : random.pick(["before", "after"] as const);
  const code = random.pick(["SQLITE_FULL", "SQLITE_CONSTRAINT"]);
  rig.store.order({ label, at, with: code, skip: random.int(0, 4) });
}

function batch(random: Seeded) {
  return Array.from({ length: random.int(1, 3) }, () => ({
    type: random.pick(["a", "b", "c"]),
    subject: random.pick(["k", "l"]),
  }));
}

async function succeed(work: () => Promise<void>): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    try {
      return await work();
    } catch {
      // An ordered fault has struck; there is a bounded number of them.
    }
  }
  throw new Error("200 faults in a row");
}

/** What the rules make of events, without the ids that they give. */
function seen(rules: RuleSet, events: { type: string; subject: string }[], n: number) {
  const given = events.map((event, index) => ({
    event: {
      specversion: "1.0" as const,
      id: `probe-${n}-${index}`,
      source: "s",
      time: "2026-12-01T00:00:00Z",
      data: null,
      ...event,
    },
    timed: false,
  }));
  const times = { trustedMs: rig.clock.trusted() + n * 7, wallMs: rig.clock.wall() };
  const { derived, runs } = rules.evaluate("t0", given, times);
  return {
    derived: derived.map(({ event }) => [event.type, event.source, event.subject]),
    runs: runs.map(({ rule: name, event, index }) => [name, event.type, event.subject, index]),
    due: rules.due(times.trustedMs),
  };
}
