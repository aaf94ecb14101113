import { heapStats } from "bun:jsc";
import { RuleSet } from "../src/agent/rules/rule-set.ts";
import type { RuleDefinition } from "../src/model/rule.ts";
import { AGENT, rule, START_MS } from "../src/testing/rule-rig.ts";
import type { Bench } from "./frame.ts";

const RULES = 1000;
/** Each trigger has so many rules: what an event meets. */
const CANDIDATES = 20;
const TRIGGERS = RULES / CANDIDATES;
const EVENTS = 100_000;
const BATCH = 100;
const KEYS = 100_000;
const ENTRIES = 4;

export const bench: Bench = {
  about: "events against 1,000 rules of which each meets 20, and a window with 100,000 keys",
  async run({ progress }) {
    const matching = ruleSet(Array.from({ length: RULES }, (_, index) => condition(index)));
    evaluate(matching, EVENTS, (batch) => `t${batch % TRIGGERS}`);
    const perSecond = evaluate(matching, EVENTS, (batch) => `t${batch % TRIGGERS}`);
    progress("conditions");
    Bun.gc(true);
    const before = heapStats().heapSize;
    const windows = ruleSet([window()]);
    const intoWindows = evaluate(windows, KEYS * ENTRIES, () => "t");
    Bun.gc(true);
    const heapMb = (heapStats().heapSize - before) / 1e6;
    const held = windows.counters()[0]!.keys;
    if (held !== KEYS) throw new Error(`the window holds ${held} keys, not ${KEYS}`);
    return [
      {
        name: `events evaluated, ${CANDIDATES} of ${RULES} rules each`,
        value: perSecond,
        unit: "1/s",
        goal: { kind: "at least", value: 50_000 },
      },
      { name: `events into a window of ${KEYS} keys`, value: intoWindows, unit: "1/s" },
      {
        name: `memory of ${KEYS} keys with ${ENTRIES} events each`,
        value: heapMb,
        unit: "MB",
        goal: { kind: "at most", value: 100 },
      },
    ];
  },
};

function ruleSet(definitions: RuleDefinition[]): RuleSet {
  let ids = 0;
  const rules = new RuleSet(definitions, {
    agent: AGENT,
    newId: () => `id-${ids++}`,
    maxEventBytes: 262_144,
  });
  rules.load({ states: [], entries: [], openFindings: [] }, START_MS);
  return rules;
}

function condition(index: number): RuleDefinition {
  const when = `event.type == "probe.down" && event.data.failures >= ${index + 3}`;
  return rule(`r${index}`, { on: [`t${index % TRIGGERS}`], when, cooldownMs: 1000 });
}

function window(): RuleDefinition {
  const sum = {
    overMs: 3_600_000,
    compute: "sum" as const,
    of: "event.data.failures",
    is: "window.value > 1000",
  };
  return rule("w", { by: "event.subject", window: sum });
}

/** Events a second. */
function evaluate(rules: RuleSet, events: number, triggerOf: (batch: number) => string): number {
  const started = performance.now();
  for (let from = 0; from < events; from += BATCH) {
    const given = Array.from({ length: BATCH }, (_, index) => ({ event: event(from + index), timed: false }));
    const nowMs = START_MS + from;
    rules.evaluate(triggerOf(from / BATCH), given, { trustedMs: nowMs, wallMs: nowMs }).changes();
  }
  return (events / (performance.now() - started)) * 1000;
}

function event(n: number) {
  return {
    specversion: "1.0" as const,
    id: `e${n}`,
    source: "urn:holdfast:agent:bench-01/t",
    type: "probe.down",
    time: "2026-12-01T00:00:00.000Z",
    subject: `k${n % KEYS}`,
    data: { failures: 1, url: "http://127.0.0.1:8080/", seen: [1, 2, 3] },
  };
}
