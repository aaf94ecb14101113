/** Sequence, absence, debounce, throttle and cooldown against naive references, over streams with old and repeated times. */
import { describe, expect, test } from "bun:test";
import { type Fed, rule, RuleRig } from "../../testing/rule-rig.ts";
import { Seeded } from "../../testing/seeded.ts";

const SEEDS = [1, 2, 3, 4, 5, 6];
const KEYS = ["k", "l"];

interface Seen {
  at: number;
  type: string;
}

/** Some events, in the order in which they came, each no older than the one before, meet all steps in time. */
function sequenceEndsWith(seen: Seen[], steps: string[][], withinMs: number): boolean {
  const last = seen.length - 1;
  const search = (step: number, index: number): boolean => {
    if (!steps[step]!.includes(seen[index]!.type) || seen[last]!.at - seen[index]!.at > withinMs)
      return false;
    if (step === 0) return true;
    for (let before = index - 1; before >= 0; before--)
      if (seen[before]!.at <= seen[index]!.at && search(step - 1, before)) return true;
    return false;
  };
  return search(steps.length - 1, last);
}

describe.each(SEEDS)("sequence, seed %d", (seed) => {
  const steps = [["a"], ["b", "a"], ["c", "b"]].slice(0, seed % 2 === 0 ? 3 : 2);
  const definition = rule("s", {
    by: "event.subject",
    sequence: { withinMs: 500, steps: steps.map((types) => ({ types, when: null })) },
  });

  test.each([
    ["in order", 0],
    ["with times that go back", 0.3],
  ])("%s", (_, backward) => {
    const random = new Seeded(seed * 104_729);
    const rig = new RuleRig([definition]);
    const seen = new Map<string, Seen[]>();
    let fired = 0;
    for (let step = 0; step < 800; step++) {
      rig.now += random.int(0, 120);
      if (random.chance(0.02)) rig.restart();
      if (random.chance(0.02)) rig.wallAhead = random.int(-1, 1) * 365 * 86_400_000;
      const subject = random.pick(KEYS);
      const at = random.chance(backward) ? rig.now - random.int(0, 700) : rig.now;
      const type = random.pick(["a", "b", "c", "d"]);
      const history = seen.get(subject) ?? [];
      seen.set(subject, [...history, { at, type }]);
      const holds = sequenceEndsWith(seen.get(subject)!, steps, 500);
      const fires = rig.feed({ subject, type, at }).length > 0;
      // What came in the right order is always found; what did not is never made up.
      if (backward === 0) expect(fires, `step ${step}`).toBe(holds);
      else if (fires) expect(holds, `step ${step}`).toBe(true);
      if (!fires) continue;
      fired++;
      seen.set(subject, []);
    }
    expect(fired).toBeGreaterThan(10);
  });
});

test("the same event twice, and the steps the wrong way round, are no sequence", () => {
  const steps = [["a"], ["b"]].map((types) => ({ types, when: null }));
  const rig = new RuleRig([rule("s", { sequence: { withinMs: 1000, steps } })]);
  expect(rig.feed({ type: "b" }, { type: "a" }, { type: "a" })).toEqual([]);
  expect(rig.feed({ type: "b", at: -1 })).toEqual([]);
  expect(rig.feed({ type: "b", at: 400_000 })).toEqual([]);
  expect(rig.counters("s").late).toBe(1);
  expect(rig.feed({ type: "b" })).toEqual(["s"]);
  const same = new RuleRig([rule("s", { sequence: { withinMs: 9, steps: [steps[0]!, steps[0]!] } })]);
  expect([same.feed({ type: "a" }), same.feed({ type: "a" }), same.feed({ type: "a" })]).toEqual([
    [],
    ["s"],
    [],
  ]);
});

test.each(SEEDS)("cooldown and throttle, seed %d", (seed) => {
  const random = new Seeded(seed * 7907);
  const cooldownMs = seed % 3 === 0 ? 0 : random.int(50, 500);
  const throttle = seed % 3 === 1 ? null : { count: random.int(1, 4), perMs: random.int(200, 2000) };
  const rig = new RuleRig([rule("r", { by: "event.subject", cooldownMs, throttle })]);
  const fired = new Map<string, number[]>();
  let cooled = 0;
  for (let step = 0; step < 800; step++) {
    rig.now += random.int(0, 150);
    if (random.chance(0.02)) rig.restart();
    if (random.chance(0.02)) rig.wallAhead = random.int(-1, 1) * 365 * 86_400_000;
    const subject = random.pick(KEYS);
    const before = fired.get(subject) ?? [];
    const cooling = before.some((at) => rig.now - at < cooldownMs);
    const counted = throttle ? before.filter((at) => rig.now - at < throttle.perMs).length : 0;
    const may = !cooling && (throttle === null || counted < throttle.count);
    // The time that an event gives itself is of no account here.
    const fed: Fed = { subject, at: rig.now - random.int(-1000, 100_000) };
    expect(rig.feed(fed), `step ${step}`).toEqual(may ? ["r"] : []);
    if (may) fired.set(subject, [...before, rig.now]);
    else cooled++;
  }
  expect(cooled).toBeGreaterThan(0);
});

describe.each(SEEDS)("by time, seed %d", (seed) => {
  test("debounce fires once, so long after the last match, with that match", () => {
    const random = new Seeded(seed * 6007);
    const rig = new RuleRig([
      rule("d", {
        by: "event.subject",
        debounceMs: 200,
        outcomes: [{ kind: "run", pipeline: "p", params: { n: "${{ event.data.n }}" } }],
      }),
    ]);
    const last = new Map<string, { at: number; n: number }>();
    for (let step = 0; step < 500; step++) {
      const from = rig.now;
      const to = from + random.int(0, 150);
      const expected = [...last]
        .filter(([, { at }]) => at + 200 <= to)
        .toSorted(([, a], [, b]) => a.at - b.at);
      for (const [key] of expected) last.delete(key);
      if (random.chance(0.03)) rig.restart();
      const passed = rig.pass(to - from).flatMap(({ runs }) => runs.map(({ params }) => params));
      expect(passed, `step ${step}`).toEqual(expected.map(([, { n }]) => ({ n })));
      const subject = random.pick(KEYS);
      rig.feed({ subject, data: { n: step } });
      last.set(subject, { at: to, n: step });
    }
  });

  test("absence fires once, so long after the last event, and not for what came late", () => {
    const random = new Seeded(seed * 5003);
    const forMs = 300;
    const rig = new RuleRig([rule("a", { by: "event.subject", absence: { forMs } })]);
    /** Key → newest event's time, while the key is waited for. */
    const since = new Map<string, number>();
    let fired = 0;
    for (let step = 0; step < 600; step++) {
      const to = rig.now + random.int(0, 120);
      const due = [...since].filter(([, at]) => at + forMs <= to).toSorted(([, a], [, b]) => a - b);
      for (const [key] of due) since.delete(key);
      const collected = rig.pass(to - rig.now);
      const told = collected.flatMap(({ derived }) => derived.map(({ event }) => event));
      expect(
        told.map(({ type, subject }) => [type, subject]),
        `step ${step}`,
      ).toEqual(due.map(([key]) => ["rule.absent", key]));
      fired += due.length;
      if (random.chance(0.03)) rig.restart();
      if (random.chance(0.02)) rig.wallAhead = random.int(-1, 1) * 365 * 86_400_000;
      const subject = random.pick(KEYS);
      const at = rig.now - (random.chance(0.3) ? random.int(0, 500) : 0);
      rig.feed({ subject, at });
      if (at + forMs > rig.now) since.set(subject, Math.max(at, since.get(subject) ?? -Infinity));
    }
    expect(fired).toBeGreaterThan(10);
  });
});

describe("absence", () => {
  const watched = (by: string | null) => rule("a", { by, absence: { forMs: 1000 } });

  test("without a key counts from the start of the rule, and over restarts", () => {
    const rig = new RuleRig([watched(null)]);
    expect(rig.advance(400)).toEqual([]);
    rig.restart();
    expect(rig.advance(599)).toEqual([]);
    expect(rig.advance(1)).toEqual(["a"]);
    rig.restart();
    expect(rig.advance(10_000)).toEqual([]);
    rig.feed({});
    expect(rig.advance(999)).toEqual([]);
    const [collected] = rig.pass(1);
    expect(collected!.derived[0]!.event).toMatchObject({
      type: "rule.absent",
      hops: 1,
      data: { key: "", sinceMs: rig.times.trustedMs - 1000 },
    });
  });

  test("what came due while the agent was off is counted anew", () => {
    const rig = new RuleRig([watched("event.subject")]);
    rig.feed({ subject: "k" });
    rig.now += 5000;
    rig.restart();
    expect(rig.advance(999)).toEqual([]);
    expect(rig.advance(1)).toEqual(["a"]);
  });
});

test("a debounced match acts as an event of its own, with what the last one said", () => {
  const outcomes = [{ kind: "run" as const, pipeline: "p", params: { u: "${{ event.data.u }}" } }];
  const rig = new RuleRig([rule("d", { debounceMs: 100, outcomes, cooldownMs: 1000 })]);
  rig.feed({ id: "one", data: { u: 1 } });
  rig.advance(50);
  rig.feed({ id: "two", subject: "s", data: { u: 2 } });
  const [collected, ...more] = rig.pass(600);
  expect(more).toEqual([]);
  expect(collected!.derived[0]!.event).toMatchObject({
    type: "rule.debounced",
    causationid: "two",
    hops: 1,
    subject: "s",
    data: { u: 2 },
  });
  expect(collected!.runs).toMatchObject([{ index: 0, params: { u: 2 } }]);
  rig.feed({ data: { u: 3 } });
  expect(rig.advance(200)).toEqual([]);
  expect(rig.counters("d")).toMatchObject({ fired: 1, cooled: 1 });
});

test("many keys that are due at once all fire, with all that follows, in portions that a commit can hold", () => {
  const emit = { kind: "emit" as const, type: "gone", subject: null, severity: null, data: {} };
  const finding = {
    kind: "finding" as const,
    severity: "error" as const,
    title: "t",
    key: null,
    data: {},
    resolvedWhen: null,
  };
  const rig = new RuleRig([
    rule("a", { by: "event.subject", absence: { forMs: 100 }, outcomes: [emit, finding] }),
    rule("ear", { on: ["rule:a"], types: ["gone"] }),
  ]);
  for (let n = 0; n < 1500; n++) rig.feed({ subject: `k${n}` });
  const portions = rig.pass(100);
  expect(portions.length).toBeGreaterThan(1);
  expect(Math.max(...portions.map(({ derived }) => derived.length))).toBeLessThan(1000);
  expect(portions.flatMap(({ runs }) => runs)).toHaveLength(1500);
  expect(rig.findings.size).toBe(1500);
  expect(rig.rules.totals.refused).toBe(0);
});

test("a debounced match of the largest size is not lost for what is put around it", () => {
  const rig = new RuleRig([rule("d", { debounceMs: 10 })], { maxEventBytes: 1000 });
  rig.feed({ data: "x".repeat(840) });
  expect(rig.advance(10)).toEqual(["d"]);
});
