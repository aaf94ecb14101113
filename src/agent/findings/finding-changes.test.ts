/** Whatever fails on the way, a change of a finding and the event that tells of it are both there or both not. */
import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { FindingChange } from "../../model/finding.ts";
import { RecorderRig } from "../../testing/recorder-rig.ts";
import { rule } from "../../testing/rule-rig.ts";
import type { Collected } from "../rules/collected.ts";
import { FindingChanges } from "./finding-changes.ts";

setDefaultTimeout(60_000);

const RULES = [
  rule("low", {
    on: ["t"],
    types: ["x"],
    by: "event.subject",
    outcomes: [
      {
        kind: "finding",
        severity: "error",
        title: "t",
        key: null,
        data: {},
        resolvedWhen: null,
        resolveAfterMs: 60_000,
      },
    ],
  }),
];
const start = { kind: "run" as const, pipeline: "p", params: {} };
const ACKNOWLEDGE: FindingChange = { kind: "acknowledge", by: "local:1" };
const NOTE: FindingChange = { kind: "note", by: "local:1", text: "seen" };
const RESOLVE: FindingChange = { kind: "resolve", by: "local:1", falsePositive: true, reason: "no" };

let rig: RecorderRig;
let changes: FindingChanges<Collected>;
beforeEach(async () => {
  rig = new RecorderRig();
  await open();
  await rig.recorder.record("t", [{ type: "x", subject: "a" }], undefined);
});
afterEach(() => rig.remove());

async function open(): Promise<void> {
  await rig.open(RULES);
  changes = new FindingChanges({
    find: (id) => rig.store.finding(id),
    change: (...all) => rig.rules.changeFinding(...all),
    commit: (evaluate) => rig.recorder.recordChange(evaluate),
  });
}

const stored = async () => (await rig.store.findings({}, 10)).at(-1)!;
const told = async () =>
  (await rig.events()).map(({ type }) => type).filter((type) => type.startsWith("finding."));

test("each is durable, in its order, and told once", async () => {
  const { id } = await stored();
  await Promise.all([changes.make(id, ACKNOWLEDGE), changes.make(id, NOTE), changes.make(id, RESOLVE)]);
  await changes.make(id, { ...NOTE, text: "later" });
  const types = [
    "finding.opened",
    "finding.acknowledged",
    "finding.noted",
    "finding.resolved",
    "finding.noted",
  ];
  expect(await told()).toEqual(types);
  await rig.close();
  await open();
  expect(await stored()).toMatchObject({
    state: "resolved",
    extra: {
      notes: [{ text: "seen" }, { text: "later" }],
      resolution: { kind: "false_positive", reason: "no" },
    },
  });
});

test("the run that the rule starts with it is named, the last one, also after a restart", async () => {
  await rig.close();
  await rig.open(RULES.map((each) => ({ ...each, outcomes: [...each.outcomes, start] })));
  const raise = () => rig.recorder.record("t", [{ type: "x", subject: "a" }], undefined);
  await raise();
  expect((await stored()).extra?.run).toBe(rig.admitted.at(-1)!.id);
  await raise();
  expect(rig.admitted).toHaveLength(2);
  expect((await stored()).extra?.run).toBe(rig.admitted.at(-1)!.id);
  await rig.close();
  await open();
  await raise();
  expect(await stored()).toMatchObject({ count: 4, extra: { run: rig.admitted.at(-1)!.id } });
});

test("what its state does not allow is refused, and what is not there", async () => {
  const { id } = await stored();
  await changes.make(id, RESOLVE);
  const before = await told();
  await expect(changes.make(id, ACKNOWLEDGE)).rejects.toMatchObject({ code: "conflict" });
  await expect(changes.make(id, RESOLVE)).rejects.toMatchObject({ code: "conflict" });
  await expect(changes.make("nobody", NOTE)).rejects.toMatchObject({ code: "not_found" });
  await changes.make(id.slice(-4), NOTE);
  expect(await told()).toEqual([...before, "finding.noted"]);
});

describe.each(["findings.put", "events.insert", "commit"])("a failure at %s", (label) => {
  test.each([ACKNOWLEDGE, NOTE, RESOLVE])("$kind", async (change) => {
    const { id } = await stored();
    const at = label === "commit" ? "before" : "after";
    rig.store.order({ label, at, with: "SQLITE_CONSTRAINT" });
    const failed = await changes.make(id, change).then(
      () => null,
      (error: unknown) => error,
    );
    expect(failed).not.toBeNull();
    expect(await stored()).toMatchObject({ state: "open", count: 1 });
    expect(await told()).toEqual(["finding.opened"]);
    // What the rules remember is what the store holds: the same change goes through now, and repeats are counted.
    await rig.recorder.record("t", [{ type: "x", subject: "a" }], undefined);
    expect(await stored()).toMatchObject({ count: 2 });
    await changes.make(id, change);
    expect((await told()).length).toBe(2);
  });
});

test("the time without a repeat goes on over a restart, and fires by itself", async () => {
  await rig.clock.advance(40_000);
  await rig.close();
  await open();
  await rig.clock.advance(19_000);
  expect(await stored()).toMatchObject({ state: "open" });
  await rig.clock.advance(2_000);
  await rig.recorder.stop();
  expect(await stored()).toMatchObject({ state: "resolved", extra: { resolution: { by: "time" } } });
  expect(await told()).toEqual(["finding.opened", "finding.resolved"]);
});
