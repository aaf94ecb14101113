import { expect, test } from "bun:test";
import type { FindingChange } from "../../model/finding.ts";
import { RuleRig, rule } from "../../testing/rule-rig.ts";
import type { Collected } from "./collected.ts";

const finding = {
  kind: "finding" as const,
  severity: "error" as const,
  title: "t",
  key: null,
  data: {},
  resolvedWhen: 'event.type == "fine"',
  resolveAfterMs: 1000,
};
const RULES = [
  rule("low", { types: ["x"], by: "event.subject", outcomes: [finding] }),
  rule("tell", { on: ["rule:low"], types: ["finding.resolved", "finding.acknowledged", "finding.noted"] }),
];
const told = (collected: Collected[]) =>
  collected.flatMap((each) => each.derived.map(({ event }) => [event.type, (event.data as any).key]));
const only = (rig: RuleRig) => [...rig.findings.values()];

test("one that is not raised again for so long is resolved, each repeat puts it off", () => {
  const rig = new RuleRig(RULES);
  rig.feed({ subject: "a" });
  rig.advance(600);
  rig.feed({ subject: "a", id: "again" }, { subject: "b" });
  expect(told(rig.pass(999))).toEqual([]);
  rig.feed({ subject: "b" });
  expect(told(rig.pass(1))).toEqual([["finding.resolved", "low:a"]]);
  expect(only(rig)[0]).toMatchObject({
    state: "resolved",
    count: 2,
    extra: { event: { id: "again" }, resolution: { by: "time", kind: "resolved" } },
  });
  expect(told(rig.pass(5000))).toEqual([["finding.resolved", "low:b"]]);
});

test("a restart forgets no time, and the host's clock does not matter", () => {
  const rig = new RuleRig(RULES);
  rig.feed({ subject: "a" });
  rig.advance(400);
  rig.wallAhead = 3_600_000;
  rig.restart();
  expect(told(rig.pass(599))).toEqual([]);
  rig.restart();
  expect(told(rig.pass(1))).toEqual([["finding.resolved", "low:a"]]);
  rig.restart();
  expect(told(rig.pass(10_000))).toEqual([]);
});

test("raised again after it was resolved it is a new one; acknowledged it is counted", () => {
  const rig = new RuleRig(RULES);
  rig.feed({ subject: "a" });
  const change = (wanted: FindingChange) => rig.rules.changeFinding(only(rig).at(-1)!, wanted, rig.times);
  const acknowledged = change({ kind: "acknowledge", by: "local:0" });
  expect(acknowledged.evaluated.runs.map((run) => run.rule)).toEqual(["tell"]);
  expect(told([acknowledged.evaluated])).toEqual([["finding.acknowledged", "low:a"]]);
  rig.findings.set(acknowledged.row.id, acknowledged.row);
  expect(() => change({ kind: "acknowledge", by: "local:0" })).toThrow("cannot be acknowledged");
  rig.feed({ subject: "a" });
  expect(only(rig)).toMatchObject([{ state: "acknowledged", count: 2 }]);
  expect(rig.rules.openFindings()).toEqual({ error: 1 });
  rig.feed({ subject: "a", type: "fine" });
  expect(only(rig)).toMatchObject([{ state: "resolved", extra: { resolution: { by: "rule" } } }]);
  rig.feed({ subject: "a" });
  expect(only(rig)).toMatchObject([{ state: "resolved" }, { state: "open", count: 1 }]);
});

test("a rule that raises it again on its own end stops after so many hops", () => {
  const loop = rule("low", { on: ["t", "rule:low"], types: ["x", "finding.resolved"], outcomes: [finding] });
  const rig = new RuleRig([loop]);
  rig.feed({});
  rig.pass(100_000);
  expect(only(rig).length).toBeLessThan(10);
  expect(only(rig).every((row) => row.state === "resolved")).toBe(true);
});
