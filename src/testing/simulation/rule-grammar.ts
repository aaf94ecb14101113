import type { CloudEvent } from "../../model/event.ts";
import type { RuleDefinition, RuleOutcome, WindowFunction } from "../../model/rule.ts";
import { rule } from "../rule-rig.ts";
import type { Seeded } from "../seeded.ts";
import { TRIGGERS, TYPES } from "./names.ts";

const PARAMS = { k: "${{ event.data.k }}", v: "${{ event.data.v }}" };

/** A rule, and what the naive reference needs to know of it. */
export interface SimulatedRule {
  definition: RuleDefinition;
  /** Whether an event meets its `when`. */
  meets: (event: CloudEvent) => boolean;
  /** Whether the reference computes when it fires; rules that fire by time are proved elsewhere. */
  referenced: boolean;
  /** Of a window: what it must reach. */
  reaches: number;
  /** It may be gone after a restart, with what it remembers. */
  passing: boolean;
}

export function valueOf(event: CloudEvent): number {
  return (event.data as { v: number }).v;
}

export function keyOf(event: CloudEvent): string {
  return (event.data as { k: string }).k;
}

/** Some rules of every kind; what they start is chosen among these pipelines. */
export function randomRules(random: Seeded, pipelines: string[]): SimulatedRule[] {
  const start = (): RuleOutcome => ({ kind: "run", pipeline: random.pick(pipelines), params: PARAMS });
  const rules: SimulatedRule[] = [];
  const count = random.int(2, 5);
  for (let at = 0; at < count; at++) rules.push(randomRule(random, `r${at}`, start));
  if (random.chance(0.5)) rules.push(...chain(random, start));
  if (random.chance(0.4)) rules.push(byTime(random, start));
  rules.push(finding(random), windowed(random, "window", start));
  rules.push({ ...randomRule(random, "passing", start), passing: true, referenced: false });
  return rules;
}

function plain(definition: RuleDefinition, more: Partial<SimulatedRule> = {}): SimulatedRule {
  return { definition, meets: () => true, referenced: true, reaches: 0, passing: false, ...more };
}

function randomRule(random: Seeded, name: string, start: () => RuleOutcome): SimulatedRule {
  const on = random.chance(0.5) ? TRIGGERS : [random.pick(TRIGGERS)];
  const types = random.chance(0.5) ? [] : [random.pick(TYPES)];
  const base = {
    on,
    types,
    by: random.chance(0.7) ? "event.data.k" : null,
    priority: random.int(0, 2),
    outcomes: [start()],
  };
  const when = random.chance(0.4) ? "event.data.v > 3" : null;
  const meets = (event: CloudEvent) => when === null || valueOf(event) > 3;
  switch (random.int(0, 3)) {
    case 0:
      return plain(rule(name, { ...base, when, cooldownMs: random.pick([0, 20_000, 120_000]) }), { meets });
    case 1: {
      const throttle = { count: random.int(1, 3), perMs: random.pick([10_000, 300_000]) };
      return plain(rule(name, { ...base, when, throttle }), { meets });
    }
    case 2:
      return windowed(random, name, start);
    default: {
      const sequence = {
        withinMs: random.pick([10_000, 200_000]),
        steps: [
          { types: ["a"], when: null },
          { types: ["b"], when: null },
        ],
      };
      return plain(rule(name, { ...base, types: [], sequence }));
    }
  }
}

function windowed(random: Seeded, name: string, start: () => RuleOutcome): SimulatedRule {
  const compute = random.pick<WindowFunction>(["count", "distinct", "sum", "max"]);
  const reaches = compute === "sum" ? random.int(10, 30) : compute === "max" ? 8 : random.int(2, 4);
  const window = {
    overMs: random.pick([15_000, 120_000, 3_600_000]),
    compute,
    of: compute === "count" ? null : "event.data.v",
    is: `window.value >= ${reaches}`,
  };
  const definition = rule(name, {
    on: TRIGGERS,
    by: random.chance(0.7) ? "event.data.k" : null,
    window,
    cooldownMs: random.pick([5_000, 60_000]),
    outcomes: [start()],
  });
  return plain(definition, { reaches });
}

/** One rule emits, another listens, and a third feeds itself until the hops end it. */
function chain(random: Seeded, start: () => RuleOutcome): SimulatedRule[] {
  const emits: RuleOutcome = { kind: "emit", type: "chained", subject: null, severity: null, data: PARAMS };
  const rules = [
    plain(
      rule("emits", { on: [random.pick(TRIGGERS)], types: ["c"], cooldownMs: 30_000, outcomes: [emits] }),
    ),
    plain(rule("listens", { on: ["rule:emits"], outcomes: [start()] })),
  ];
  if (random.chance(0.3)) {
    const itself = rule("feeds", { on: ["rule:emits", "rule:feeds"], outcomes: [emits] });
    rules.push(plain(itself, { referenced: false }));
  }
  return rules;
}

function byTime(random: Seeded, start: () => RuleOutcome): SimulatedRule {
  const outcomes = [{ ...start(), params: { k: "k0", v: 1 } } as RuleOutcome];
  const timed = random.chance(0.5)
    ? { debounceMs: random.pick([1_000, 30_000]), by: "event.data.k" }
    : { absence: { forMs: random.pick([30_000, 600_000]) } };
  return plain(rule("timed", { on: [random.pick(TRIGGERS)], ...timed, outcomes }), { referenced: false });
}

function finding(random: Seeded): SimulatedRule {
  const outcome: RuleOutcome = {
    kind: "finding",
    severity: "warning",
    title: "high ${{ event.data.v }}",
    key: null,
    data: {},
    resolvedWhen: "event.data.v < 4",
  };
  const definition = rule("finds", {
    on: TRIGGERS,
    when: "event.data.v > 7",
    by: random.chance(0.5) ? "event.data.k" : null,
    outcomes: [outcome],
  });
  return plain(definition, { referenced: false });
}
