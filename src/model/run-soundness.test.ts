/** What open runs come to is sound; whatever leaves nobody to bring a run on is not. */
import { describe, expect, test } from "bun:test";
import { pipeline, step, undo } from "../testing/definitions.ts";
import { added, bad, retry, RunRig } from "../testing/run-rig.ts";
import type { RunRow, StepRow } from "./run.ts";
import { unsoundness } from "./run-soundness.ts";

const ask = { text: "?", approvers: ["*"], strict: false, timeoutMs: 5 };
const lock = { lock: "one", busy: "queue" as const };

/** A run under way: a list with an item done, one that runs and one that waits, and a step that needs the list. */
function aList(): RunRig {
  const definition = pipeline(
    [
      step("each", {
        foreach: { in: "[]", concurrency: 1 },
        retry: retry(2),
        effect: "idempotent",
        undo: undo("x"),
      }),
      step("after", { needs: ["each"] }),
      step("alone", { exclusive: lock, deadlineMs: 9 }),
    ],
    { exclusive: lock, finally: [step("close")], deadlineMs: 60_000 },
  );
  const rig = new RunRig(definition);
  rig.items("each", [1, 2, 3]);
  rig.go("each[0]");
  rig.lease("each[1]");
  return rig;
}

function problemOf({ live }: RunRig): string | null {
  return unsoundness(live.run, [...live.steps.values()], live.definition);
}

describe("a run as its changes leave it is sound", () => {
  test("from its beginning to its last step", () => {
    const rig = aList();
    expect(problemOf(rig)).toBeNull();
    rig.end("each[1]", bad());
    expect(problemOf(rig)).toBeNull();
    rig.go("each[1]");
    rig.go("each[2]");
    rig.go("after");
    expect(problemOf(rig)).toBeNull();
    rig.go("alone");
    rig.lease("close");
    expect(problemOf(rig)).toBeNull();
  });

  test("with added steps, and while it is being stopped", () => {
    const rig = new RunRig(pipeline([step("a"), step("b", { needs: ["a"] })], { finally: [step("z")] }));
    expect(problemOf(rig)).toBeNull();
    rig.lease("a");
    rig.add("a", added("add", "more"), added("finally", "last"), added("onFailure", "tell"));
    expect(problemOf(rig)).toBeNull();
    rig.stop("cancelled");
    expect(problemOf(rig)).toBeNull();
    rig.cancelled("a");
    expect(problemOf(rig)).toBeNull();
  });
});

type RunLie = Partial<Record<keyof RunRow, unknown>>;
const RUN_LIES: [string, RunLie][] = [
  ["a state in which it has ended", { state: "succeeded" }],
  ["a state that there is not", { state: "runniog" }],
  ["a start, and it is queued", { state: "queued" }],
  ["no start, and it runs", { startedMs: null }],
  ["no start, and something of it runs", { state: "queued", startedMs: null, deadlineMs: null }],
  ["a lock that it waits for while it runs", { state: "waiting" }],
  ["an end", { endedMs: 5 }],
  ["no deadline where its pipeline has one", { deadlineMs: null }],
  ["a deadline that is no number", { deadlineMs: Number.NaN }],
  ["a stop that ends in no state", { stop: { state: "cancellee", by: "x", reason: "y" } }],
  ["a stop without a reason", { stop: { state: "failed", by: "x" } }],
  ["another pipeline", { pipeline: "q" }],
  ["a starter that there is not", { starter: { kind: "manuam", by: "x" } }],
  ["itself as its parent", { parent: { run: "r", step: "s", key: "k" } }],
];

test.each(RUN_LIES)("a run with %s is not", (_, lie) => {
  const rig = aList();
  Object.assign(rig.live.run, lie);
  expect(problemOf(rig)).not.toBeNull();
});

type StepLie = Partial<Record<keyof StepRow, unknown>>;
const STEP_LIES: [string, string, StepLie][] = [
  ["a state that there is not", "after", { state: "waitinf" }],
  ["a state of waiting, for nothing", "after", { waits: null }],
  ["something it waits for while it runs", "each[1]", { waits: "needs" }],
  ["something it waited for, though it ended", "each[0]", { waits: "needs" }],
  ["a wait for needs that are met", "alone", { state: "waiting", waits: "needs" }],
  ["a wait for an answer that nobody can give", "after", { waits: "approval" }],
  ["a doubt about what never began", "after", { waits: "decision" }],
  ["a wait for a lock that it does not take", "after", { waits: "lock" }],
  ["another part", "after", { part: "finally" }],
  ["a part that there is not", "after", { part: "stepr" }],
  ["another name", "after", { stepId: "aftep" }],
  ["no extra, and it is an item", "each[1]", { extra: null }],
  [
    "an index that is another item's",
    "each[1]",
    { extra: { foreach: { step: "each", index: 2, value: 1 } } },
  ],
  ["a list that is another's", "each[1]", { extra: { foreach: { step: "eack", index: 1, value: 1 } } }],
  ["an end, and its items run", "each", { state: "succeeded" }],
  ["attempts below none", "alone", { attempts: -1 }],
  ["a fence that cannot be raised", "alone", { fence: 2 ** 53 }],
  ["a time that is none", "alone", { notBeforeMs: Number.POSITIVE_INFINITY }],
  [
    "a deadline that is none",
    "each[1]",
    { extra: { foreach: { step: "each", index: 1 }, deadlineMs: null } },
  ],
  ["no deadline while it runs", "alone", { state: "running" }],
  ["an error that is none", "each[1]", { error: "no" }],
];

test.each(STEP_LIES)("a step with %s is not", (_, id, lie) => {
  const rig = aList();
  Object.assign(rig.step(id), lie);
  expect(problemOf(rig)).not.toBeNull();
});

test.each(["after", "each", "each[1]"])("a run without its step %s is not", (id) => {
  const rig = aList();
  rig.live.steps.delete(id);
  expect(problemOf(rig)).not.toBeNull();
});

test("what an added step carries is looked at, and what a newer version wrote is not", () => {
  const rig = new RunRig(pipeline([step("a")]));
  rig.lease("a");
  rig.add("a", added("add", "more"));
  const row = rig.step("a+1");
  Object.assign(row.extra!, { later: "than this" });
  expect(problemOf(rig)).toBeNull();
  row.extra!.definition = { ...row.extra!.definition!, needs: "a" as never };
  expect(problemOf(rig)).toContain("definition");
});

test("an approval must ask something, and until when", () => {
  const rig = new RunRig(pipeline([step("sure", { work: "approval", approval: ask })]));
  const row = rig.step("sure");
  Object.assign(rig.live.run, { state: "running", startedMs: 1 });
  Object.assign(row, { state: "waiting", waits: "approval", extra: { approval: ask, deadlineMs: 9 } });
  expect(problemOf(rig)).toBeNull();
  row.extra = { approval: ask };
  expect(problemOf(rig)).not.toBeNull();
  row.extra = { approval: { ...ask, approvers: "*" as never }, deadlineMs: 9 };
  expect(problemOf(rig)).not.toBeNull();
});
