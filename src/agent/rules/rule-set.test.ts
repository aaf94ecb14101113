import { describe, expect, test } from "bun:test";
import { MAX_HOPS } from "../../model/rule.ts";
import { rule, RuleRig } from "../../testing/rule-rig.ts";

describe("which rules an event meets", () => {
  test("those of its trigger, of * and of its type", () => {
    const rig = new RuleRig([
      rule("a"),
      rule("b", { on: ["other"] }),
      rule("c", { on: ["*"] }),
      rule("d", { types: ["y"], on: ["t", "*"] }),
      rule("off", { enabled: false }),
    ]);
    expect(rig.feed({})).toEqual(["a", "c"]);
    expect(rig.feed({ type: "y" })).toEqual(["a", "c", "d"]);
    expect(rig.feed({ trigger: "third" })).toEqual(["c"]);
    expect(rig.rules.concerns("whatever")).toBe(true);
    const own = new RuleRig([rule("a"), rule("off", { on: ["*"], enabled: false })]);
    expect([own.rules.concerns("t"), own.rules.concerns("other")]).toEqual([true, false]);
    expect(rig.counters("d")).toMatchObject({ evaluated: 1, matched: 1, fired: 1 });
  });

  test("the higher priority first, then the order of the configuration", () => {
    const rig = new RuleRig([
      rule("a", { on: ["*"] }),
      rule("b", { priority: -1 }),
      rule("c", { priority: 5 }),
      rule("d"),
    ]);
    expect(rig.feed({})).toEqual(["c", "a", "d", "b"]);
    expect(rig.rules.list().map(({ name }) => name)).toEqual(["c", "a", "d", "b"]);
  });
});

describe("conditions and templates", () => {
  test("see event and agent; a missing field is skipped, an error counted, and the rest goes on", () => {
    const rig = new RuleRig([
      rule("yes", { when: "event.data.n >= 3 && agent.labels.role == 'web'" }),
      rule("missing", { when: "event.data.nope == 1" }),
      rule("broken", { when: "1 / (event.data.n - event.data.n) == 0" }),
      rule("text", { when: "event.type" }),
      rule("no key", { by: "event.data.nope" }),
      rule("not CEL", { when: "event." }),
      rule("last"),
    ]);
    expect(rig.feed({ data: { n: 3 } })).toEqual(["yes", "last"]);
    expect(rig.feed({ data: { n: 2 } })).toEqual(["last"]);
    expect(rig.counters("yes")).toMatchObject({ evaluated: 2, matched: 1, fired: 1, skipped: 0 });
    expect(rig.counters("missing")).toMatchObject({ skipped: 2, matched: 0 });
    expect(rig.counters("broken")).toMatchObject({ errors: 2, lastError: expect.stringContaining("zero") });
    expect(rig.counters("text").lastError).toBe("event.type: gave string, not bool");
    expect(rig.counters("no key")).toMatchObject({ skipped: 2, fired: 0 });
    expect(rig.rules.list().find(({ name }) => name === "not CEL")!.broken).toBe(
      "Expected IDENTIFIER, got EOF",
    );
  });

  test("params are filled in; a rule none of whose outcomes can be does not fire", () => {
    const run = (params: object) => ({ kind: "run" as const, pipeline: "p", params: params as never });
    const rig = new RuleRig([
      rule("a", { outcomes: [run({ n: "${{ event.data.n + 1 }}", who: "${{ agent.id }}" })] }),
      rule("b", { outcomes: [run({ n: "${{ event.data.nope }}" })], cooldownMs: 1000 }),
    ]);
    const { runs } = rig.collect({ data: { n: 1 } });
    expect(runs.map(({ params }) => params)).toEqual([{ n: 2, who: "web-01" }]);
    expect(rig.counters("b")).toMatchObject({ matched: 1, fired: 0, errors: 1 });
    rig.feed({ data: { n: 1, nope: 2 } });
    expect(rig.counters("b")).toMatchObject({ fired: 1, cooled: 0 });
  });

  test("a window's facts reach its outcomes", () => {
    const params = { of: "${{ window.key }}", sum: "${{ window.value }}", n: "${{ window.count }}" };
    const rig = new RuleRig([
      rule("w", {
        by: "event.subject",
        window: { overMs: 60_000, compute: "sum", of: "event.data.n", is: "window.value >= 2.5" },
        outcomes: [{ kind: "run", pipeline: "p", params }],
      }),
    ]);
    rig.feed({ subject: "a", data: { n: 1 } }, { subject: "b", data: { n: 1 } });
    const { runs } = rig.collect({ subject: "a", data: { n: 2 } });
    expect(runs[0]!.params).toEqual({ of: "a", sum: 3, n: 2 });
  });
});

test("an event that no expression can take in costs nobody but the rules that look at it", () => {
  const rig = new RuleRig([rule("plain"), rule("deep", { when: "event.data.n == 1" }), rule("after")]);
  let data: unknown = 1;
  for (let depth = 0; depth < 200_000; depth++) data = [data];
  expect(rig.rules.evaluate("t", [{ event: deepEvent(data), timed: false }], rig.times).runs).toEqual([]);
  expect(rig.counters("deep").errors).toBe(1);
  expect(rig.feed({ data: { n: 1 } })).toEqual(["plain", "deep", "after"]);
});

const deepEvent = (data: unknown) => ({
  specversion: "1.0" as const,
  id: "1",
  source: "s",
  type: "x",
  time: "2026-12-01T00:00:00Z",
  data: data as never,
});

test("what fired, how often and when survives a restart, but for a rule that is another one now", () => {
  const window = { overMs: 1000, compute: "count" as const, of: null, is: "window.count > 1" };
  const rig = new RuleRig([rule("a"), rule("b", { cooldownMs: 5000 }), rule("c", { window })]);
  rig.feed({});
  rig.now = 100;
  rig.restart([
    rule("a", { priority: 3 }),
    rule("b", { cooldownMs: 2000 }),
    rule("c", { window: { ...window, is: "window.count > 2" } }),
  ]);
  expect(rig.rules.list().map(({ name, fired }) => [name, fired])).toEqual([
    ["a", 1],
    ["b", 1],
    ["c", 0],
  ]);
  expect(rig.rules.list()[0]!.lastFiredMs).toBe(rig.times.wallMs - 100);
  expect(rig.feed({}, {})).toEqual(["a", "a", "c"]);
  rig.now = 2100;
  expect(rig.feed({})).toEqual(["a", "b"]);
  rig.restart([rule("b", { cooldownMs: 2000, types: ["x"] })]);
  expect(rig.rules.list()[0]!.fired).toBe(0);
});

describe("events that rules cause", () => {
  const emit = (type: string, data: object = {}) => [
    {
      kind: "emit" as const,
      type,
      subject: "${{ event.id }}",
      severity: "notice" as const,
      data: data as never,
    },
  ];

  test("say what caused them, and rules that listen see them in the same commit, breadth first", () => {
    const rig = new RuleRig([
      rule("one", { outcomes: emit("a", { n: "${{ event.data.n }}" }) }),
      rule("two", { outcomes: emit("b") }),
      rule("three", { on: ["rule:one"], outcomes: emit("c") }),
      rule("four", { on: ["rule:three", "rule:two"] }),
    ]);
    const collected = rig.collect({ id: "first", data: { n: 7 } });
    expect(collected.derived.map(({ event }) => event.type)).toEqual(["a", "b", "c"]);
    expect(collected.derived[0]!.event).toEqual({
      specversion: "1.0",
      id: collected.derived[0]!.event.id,
      source: "urn:holdfast:agent:web-01/rule:one",
      type: "a",
      time: "2026-12-01T00:00:00.000Z",
      subject: "first",
      severity: "notice",
      causationid: "first",
      hops: 1,
      datacontenttype: "application/json",
      data: { n: 7 },
    });
    expect(collected.derived[2]!.event).toMatchObject({
      hops: 2,
      causationid: collected.derived[0]!.event.id,
    });
    expect(collected.runs.map(({ index, event }) => [index, event.type])).toEqual([
      [2, "b"],
      [3, "c"],
    ]);
  });

  test("a rule that feeds itself is stopped by the count of hops", () => {
    const rig = new RuleRig([rule("loop", { on: ["t", "rule:loop"], outcomes: emit("again") })]);
    const { derived } = rig.collect({});
    expect(derived.map(({ event }) => event.hops)).toEqual(
      Array.from({ length: MAX_HOPS }, (_, index) => index + 1),
    );
    expect(rig.rules.totals.hops).toBe(1);
    expect(rig.collect({ hops: MAX_HOPS }).derived).toEqual([]);
  });

  test("those beyond the limit of a commit, and too large ones, are refused and counted", () => {
    const names = Array.from({ length: 6 }, (_, index) => `r${index}`);
    const all = names.map((name) => `rule:${name}`);
    const rig = new RuleRig(names.map((name) => rule(name, { on: ["t", ...all], outcomes: emit("m") })));
    expect(rig.collect({}).derived).toHaveLength(1000);
    expect(rig.rules.totals.refused).toBeGreaterThan(0);
    expect(rig.counters("r5").lastError).toContain("too many others");
    const many = new RuleRig([rule("m", { outcomes: emit("m") })]);
    const batch = Array.from({ length: 1500 }, (_, n) => ({ event: deepEvent(n), timed: false }));
    expect(many.rules.evaluate("t", batch, many.times).derived).toHaveLength(1500);
    const large = new RuleRig([rule("l", { outcomes: emit("l", { all: "${{ event.data }}" }) })]);
    expect(large.collect({ data: "x".repeat(10_000) }).derived).toEqual([]);
    expect(large.counters("l").lastError).toContain("more than limits.event_size (10000)");
  });
});

describe("findings", () => {
  const down = (key: string | null) =>
    rule("down", {
      when: 'event.type == "down"',
      types: ["down"],
      by: "event.subject",
      outcomes: [
        {
          kind: "finding",
          severity: "error",
          title: "${{ event.subject }} is down",
          key,
          data: { why: "${{ event.data.why }}" },
          resolvedWhen: 'event.type == "up"',
        },
      ],
    });

  test("are opened once, counted, and resolved by the second condition for the same key", () => {
    const rig = new RuleRig([down(null), rule("ear", { on: ["rule:down"] })]);
    const opened = rig.collect({ type: "down", subject: "a", data: { why: 1 } });
    expect(opened.derived.map(({ event }) => event)).toMatchObject([
      {
        type: "finding.opened",
        severity: "error",
        data: { key: "down:a", title: "a is down", data: { why: 1 } },
      },
    ]);
    expect(opened.runs.map((run) => run.rule)).toEqual(["ear"]);
    expect(rig.collect({ type: "down", subject: "a", data: { why: 2 } }).derived).toEqual([]);
    rig.feed({ type: "down", subject: "b", data: { why: 3 } });
    expect([...rig.findings.values()]).toMatchObject([
      { key: "down:a", state: "open", count: 2, data: { why: 2 }, rule: "down", severity: "error" },
      { key: "down:b", state: "open", count: 1 },
    ]);
    rig.restart();
    rig.now = 50;
    expect(rig.collect({ type: "up", subject: "c" }).derived).toEqual([]);
    expect(rig.collect({ type: "up", subject: "a" }).derived.map(({ event }) => event.type)).toEqual([
      "finding.resolved",
    ]);
    expect(rig.collect({ type: "up", subject: "a" }).derived).toEqual([]);
    expect([...rig.findings.values()][0]).toMatchObject({ state: "resolved", resolvedMs: rig.times.wallMs });
    expect(rig.collect({ type: "down", subject: "a", data: { why: 4 } }).derived).toHaveLength(1);
  });

  test("with a key of their own are one over all keys of the rule", () => {
    const rig = new RuleRig([down("site")]);
    rig.feed(
      { type: "down", subject: "a", data: { why: 1 } },
      { type: "down", subject: "b", data: { why: 1 } },
    );
    expect([...rig.findings.values()]).toMatchObject([{ key: "site", count: 2, title: "a is down" }]);
  });
});
