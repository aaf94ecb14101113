import { expect, test } from "bun:test";
import type { CloudEvent } from "../../model/event.ts";
import type { RuleDefinition } from "../../model/pipeline.ts";
import { RuleSet } from "./rule-set.ts";

const rule = (name: string, options: Partial<RuleDefinition> = {}): RuleDefinition => ({
  name,
  on: ["front"],
  types: [],
  when: undefined,
  run: `run-${name}`,
  cooldownMs: 0,
  params: {},
  ...options,
});
const event = (type: string, data: CloudEvent["data"] = {}): CloudEvent => ({
  specversion: "1.0",
  id: "1",
  source: "urn:holdfast:agent:web-01/front",
  type,
  time: "2026-01-01T00:00:00Z",
  data,
});
const set = (rules: RuleDefinition[], fired = {}) =>
  new RuleSet(rules, fired, { id: "web-01", labels: { role: "web" } });
const names = (rules: RuleSet, trigger: string, item: CloudEvent, now = 0) =>
  rules.match(trigger, item, now).map((match) => match.rule);

test("candidates are those of the trigger, of * and of the type", () => {
  const rules = set([
    rule("a"),
    rule("b", { on: ["other"] }),
    rule("c", { on: ["*"] }),
    rule("d", { types: ["x"] }),
  ]);
  expect(names(rules, "front", event("y"))).toEqual(["a", "c"]);
  expect(names(rules, "front", event("x"))).toEqual(["a", "d", "c"]);
  expect(names(rules, "third", event("y"))).toEqual(["c"]);
  expect(set([rule("a")]).concerns("other")).toBe(false);
  expect(rules.concerns("whatever")).toBe(true);
});

test("conditions see event and agent; a missing key is skipped; an error is counted and the rest goes on", () => {
  const rules = set([
    rule("yes", { when: "event.data.n >= 3 && agent.labels.role == 'web'" }),
    rule("missing", { when: "event.data.nope == 1" }),
    rule("broken", { when: "1 / (event.data.n - event.data.n) == 0" }),
    rule("last"),
  ]);
  expect(names(rules, "front", event("x", { n: 3 }))).toEqual(["yes", "last"]);
  expect(names(rules, "front", event("x", { n: 2 }))).toEqual(["last"]);
  const counters = Object.fromEntries(rules.counters().map((row) => [row.rule, row.counters]));
  expect(counters.yes).toMatchObject({ evaluated: 2, matched: 1 });
  expect(counters.missing).toMatchObject({ skipped: 2, matched: 0 });
  expect(counters.broken).toMatchObject({ errors: 2, lastError: expect.stringContaining("zero") });
});

test("params are resolved with the event", () => {
  const rules = set([rule("a", { params: { n: "${{ event.data.n + 1 }}", who: "${{ agent.id }}" } })]);
  expect(rules.match("front", event("x", { n: 1 }), 0)[0]!.params).toEqual({ n: 2, who: "web-01" });
});

test("a cooldown holds, survives a restart, and is taken back for a run that was not kept", () => {
  const rules = set([rule("a", { cooldownMs: 1000 })]);
  const fire = (now: number) => rules.match("front", event("x"), now);
  expect(fire(5000)).toHaveLength(1);
  expect(fire(5999)).toHaveLength(0);
  const [second] = fire(6000);
  expect(second!.previousMs).toBe(5000);
  rules.restore("a", 6000, second!.previousMs);
  expect(fire(6001)).toHaveLength(1);
  expect(rules.counters()[0]!.counters.cooled).toBe(1);
  expect(names(set([rule("a", { cooldownMs: 1000 })], { a: 5000 }), "front", event("x"), 5500)).toEqual([]);
});
