/** What a silence changes of a rule that fires: what it would have done, and nothing of what it remembers. */
import { describe, expect, test } from "bun:test";
import type { RuleDefinition, RuleOutcome } from "../../model/rule.ts";
import { type FiringFacts, type Mute, MUTES } from "../../model/silence.ts";
import { rule, RuleRig } from "../../testing/rule-rig.ts";

const FINDING: RuleOutcome = {
  ...{ kind: "finding", severity: "error", title: "down", key: null, data: {} },
  ...{ resolvedWhen: 'event.type == "up"', resolveAfterMs: null },
} as never;
const EMIT: RuleOutcome = { kind: "emit", type: "told", subject: null, severity: null, data: {} };
const RUN: RuleOutcome = { kind: "run", pipeline: "p", params: {} };

/** What mutes can be changed; every question is kept. */
function quietRig(definition: Partial<RuleDefinition>, muted: readonly Mute[] = []) {
  const state = { muted, facts: [] as FiringFacts[], counts: [] as Mute[] };
  const rig = new RuleRig([rule("r", { outcomes: [RUN, EMIT, FINDING], types: ["x"], ...definition })], {
    quiet: (facts) => {
      state.facts.push(facts());
      if (state.muted.length === 0) return null;
      return {
        by: Object.fromEntries(state.muted.map((what) => [what, "s-1"])),
        count: (what) => void state.counts.push(what),
      };
    },
  });
  const told = (fed: Parameters<RuleRig["collect"]>[0]) => {
    const { runs, derived } = rig.collect(fed);
    return [
      ...runs.map(() => "run"),
      ...derived.map(({ event }) => `${event.type}${event.silenced ? ` silenced by ${event.silenced}` : ""}`),
    ];
  };
  return { rig, state, told };
}

describe("a rule that fires under a silence", () => {
  test.each<[Mute[], string[]]>([
    [[], ["run", "told", "finding.opened"]],
    [["runs"], ["told", "finding.opened"]],
    [["events"], ["run", "finding.opened"]],
    [["findings"], ["run", "told", "finding.opened silenced by s-1"]],
    [[...MUTES], ["finding.opened silenced by s-1"]],
  ])("of %p does the rest", (muted, wanted) => {
    const { rig, state, told } = quietRig({}, muted);
    expect(told({})).toEqual(wanted);
    expect(state.counts.toSorted()).toEqual(muted.toSorted());
    const { counters, fired } = rig.rules.list()[0]!;
    expect([fired, counters.fired]).toEqual([1, 1]);
    expect(counters.silenced).toBe(muted.filter((what) => what !== "findings").length);
  });

  test("tells what it is asked about", () => {
    const { rig, state } = quietRig({ by: "event.subject", namespace: "web" });
    rig.feed({ subject: "db-1" });
    expect(state.facts).toEqual([
      {
        ...{ rule: "r", namespace: "web", pipeline: "p", trigger: "t", type: "x", subject: "db-1" },
        ...{ key: "db-1", severity: "error" },
      },
    ]);
  });

  test("goes on counting: its cooldown, throttle and window are as without it", () => {
    const { rig, state, told } = quietRig({ cooldownMs: 1000 }, MUTES);
    told({});
    state.muted = [];
    expect(told({})).toEqual([]);
    rig.now += 1001;
    expect(told({})).toEqual(["run", "told", "finding.opened"]);
    const window = { overMs: 1000, compute: "count" as const, of: null, is: "window.count >= 3" };
    const windowed = quietRig({ window, outcomes: [RUN] }, MUTES);
    windowed.told({});
    windowed.told({});
    windowed.state.muted = [];
    expect(windowed.told({})).toEqual(["run"]);
  });
});

describe("a finding", () => {
  test("that opened under a silence is told as opened when it comes again after it, also over a restart", () => {
    const { rig, state, told } = quietRig({ outcomes: [FINDING] }, MUTES);
    expect(told({})).toEqual(["finding.opened silenced by s-1"]);
    expect(told({})).toEqual([]);
    const [row] = rig.findings.values();
    expect(row).toMatchObject({ count: 2, extra: { silenced: { by: "s-1", untold: true } } });
    rig.restart();
    state.muted = [];
    expect(told({})).toEqual(["finding.opened"]);
    expect(told({})).toEqual([]);
    expect(rig.findings.get(row!.id)).toMatchObject({ count: 4 });
    expect(rig.findings.get(row!.id)!.extra!.silenced).toBeUndefined();
  });

  test("that people know of stays told: its end is for them, whatever is silenced meanwhile", () => {
    const { rig, state, told } = quietRig({ outcomes: [FINDING] });
    expect(told({})).toEqual(["finding.opened"]);
    state.muted = MUTES;
    expect(told({})).toEqual([]);
    expect([...rig.findings.values()][0]!.extra!.silenced).toEqual({ by: "s-1", untold: false });
    expect(told({ type: "up" })).toEqual(["finding.resolved"]);
  });

  test("that nobody was told of ends without them", () => {
    const { state, told } = quietRig({ outcomes: [FINDING] }, MUTES);
    told({});
    state.muted = [];
    expect(told({ type: "up" })).toEqual(["finding.resolved silenced by s-1"]);
    expect(told({})).toEqual(["finding.opened"]);
  });
});
