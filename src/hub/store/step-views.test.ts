import { describe, expect, test } from "bun:test";
import type { Row } from "./database.ts";
import { project, stepValues } from "./projection.ts";
import { stepsOf } from "./step-views.ts";
import { stepBody } from "./test-batches.ts";

const COLUMNS = ["agent", "run", "step", "action", "state", "attempts", "key", "started", "ended", "output"];
const REST = ["error", "reason", "details", "epoch", "segment", "number"];

/** Rows of steps as ingest makes them of their records, in the order in which they came. */
function rowsOf(steps: [id: string, extra: Record<string, unknown>, state?: string][]): Row[] {
  const records = steps.map(([id, extra, state = "succeeded"], index) => ({
    number: index + 1,
    class: 3,
    body: new TextEncoder().encode(JSON.stringify(stepBody("r", id, state, extra))),
  }));
  const projected = project(records);
  expect(projected.unreadable).toBe(0);
  const origin = { agent: "web-01", stream: 1n, epoch: "e1", segment: 1 };
  return projected.steps.map((step) => {
    const values = stepValues(origin, step);
    return Object.fromEntries([...COLUMNS, ...REST].map((column, index) => [column, values[index]])) as Row;
  });
}

function runOf(declared: [id: string, part: string][]): Row {
  const steps = declared.map(([id, part]) => ({ id, action: "exec", needs: [], part, effect: "idempotent" }));
  return { id: "r", steps: JSON.stringify(steps) } as unknown as Row;
}

describe("the steps of a run", () => {
  const run = runOf([
    ["each", "steps"],
    ["after", "steps"],
    ["clean", "finally"],
  ]);
  const from = { needs: [], effect: "idempotent" };
  const item = (index: number) => ({ part: "steps", origin: { ...from, foreach: { step: "each", index } } });

  test("items, added ones and undo stand where they belong", () => {
    const views = stepsOf(
      run,
      rowsOf([
        ["each", { part: "steps" }, "running"],
        ["each[10]", item(10)],
        ["each[2]", item(2)],
        ["each[2]+1", { part: "steps", origin: { ...from, needs: ["each[2]"], addedBy: "each[2]" } }],
        ["after", { part: "steps", waits: "approval", child: "c" }, "waiting"],
        ["after+1", { part: "finally", origin: { ...from, addedBy: "after" } }],
        [
          "each[2]~undo",
          { part: "undo", origin: { ...from, undoes: "each[2]", foreach: { step: "each", index: 2 } } },
        ],
      ]),
    );
    expect(views.map(({ position, part, step }) => `${position} ${part} ${step}`)).toEqual([
      "0 steps each",
      "1 steps each[2]",
      "2 steps each[2]+1",
      "3 steps each[10]",
      "4 steps after",
      "5 undo each[2]~undo",
      "6 finally clean",
      "7 finally after+1",
    ]);
    expect(views[1]).toMatchObject({ origin: { foreach: { step: "each", index: 2 } }, waits: null });
    expect(views[2]).toMatchObject({
      needs: ["each[2]"],
      effect: "idempotent",
      origin: { addedBy: "each[2]" },
    });
    expect(views[4]).toMatchObject({ waits: "approval", child: "c", origin: null, state: "waiting" });
    expect(views[6]).toMatchObject({ state: "queued", attempts: 0, key: "r/clean" });
  });

  test("records of the first versions, and rows whose origin is not there, are shown all the same", () => {
    const views = stepsOf(
      run,
      rowsOf([
        ["after", {}],
        ["lost+1", { part: "steps", origin: { ...from, addedBy: "lost" } }],
      ]),
    );
    expect(views.map(({ step }) => step)).toEqual(["each", "after", "lost+1", "clean"]);
  });
});
