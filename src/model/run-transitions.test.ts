import { describe, expect, test } from "bun:test";
import { type PipelineDefinition, type StepDefinition, stepsOnCycles } from "./pipeline.ts";
import { RUN_STATES, hasEnded, type RunState, type StepRow } from "./run.ts";
import { advanceRun, mayMoveRun, mayMoveStep } from "./run-transitions.ts";
import { newStepRows } from "./run-build.ts";

const step = (id: string, ...needs: string[]): StepDefinition => ({
  id,
  action: "a",
  needs,
  with: {},
  timeoutMs: 1,
  retry: { attempts: 1, kind: "fixed", initialMs: 1, maxMs: 1 },
  effect: "idempotent",
});
const pipeline = (steps: StepDefinition[], onFailure: StepDefinition[] = []): PipelineDefinition => ({
  name: "p",
  namespace: "default",
  concurrency: 1,
  steps,
  onFailure,
});
const rows = (definition: PipelineDefinition, states: Record<string, RunState>): StepRow[] =>
  newStepRows("run", "steps", definition.steps).map((row) => ({
    ...row,
    state: states[row.stepId] ?? row.state,
  }));

describe("transitions", () => {
  test("nothing leaves an ended state, and every state but queued and waiting is reached", () => {
    for (const from of RUN_STATES.filter(hasEnded)) {
      for (const to of RUN_STATES)
        expect([mayMoveStep(from, to), mayMoveRun(from, to)]).toEqual([false, false]);
    }
    expect(mayMoveStep("queued", "succeeded")).toBe(false);
    expect(mayMoveStep("running", "succeeded")).toBe(true);
    expect(mayMoveRun("queued", "running")).toBe(true);
  });
});

describe("advance", () => {
  const diamond = pipeline([step("a"), step("b", "a"), step("c", "a"), step("d", "b", "c")]);

  test("a step is ready when all it needs has succeeded", () => {
    expect(advanceRun(diamond, rows(diamond, { a: "succeeded" })).ready).toEqual(["b", "c"]);
    expect(
      advanceRun(diamond, rows(diamond, { a: "succeeded", b: "succeeded", c: "running" })).ready,
    ).toEqual([]);
    expect(
      advanceRun(diamond, rows(diamond, { a: "succeeded", b: "succeeded", c: "succeeded" })).ready,
    ).toEqual(["d"]);
  });

  test("skips spread, whatever the order of the definition", () => {
    const backwards = pipeline([step("d", "c"), step("c", "b"), step("b", "a"), step("a")]);
    const advance = advanceRun(backwards, rows(backwards, { a: "uncertain" }));
    expect(advance.skipped.map((row) => row.stepId)).toEqual(["b", "c", "d"]);
    expect(advance.end).toEqual({ state: "failed", reason: "step a is uncertain" });
  });

  test("on_failure begins only when nothing else runs, and once", () => {
    const definition = pipeline([step("a"), step("b")], [step("tell")]);
    expect(advanceRun(definition, rows(definition, { a: "failed", b: "running" }))).toMatchObject({
      onFailure: false,
      end: null,
    });
    const failed = rows(definition, { a: "failed", b: "succeeded" });
    expect(advanceRun(definition, failed)).toMatchObject({ onFailure: true, end: null });
    const told = newStepRows("run", "on_failure", definition.onFailure, 2).map((row) => ({
      ...row,
      state: "failed" as const,
    }));
    expect(advanceRun(definition, [...failed, ...told]).end).toEqual({
      state: "failed",
      reason: "step a is failed",
    });
  });

  test("all succeeded ends the run", () => {
    const all = { a: "succeeded", b: "succeeded", c: "succeeded", d: "succeeded" } as const;
    expect(advanceRun(diamond, rows(diamond, all)).end).toEqual({ state: "succeeded", reason: null });
  });
});

test("cycles are found, and what only hangs on them too", () => {
  expect(stepsOnCycles([step("a", "b"), step("b", "a"), step("c"), step("d", "a")])).toEqual(["a", "b", "d"]);
  expect(stepsOnCycles([step("a"), step("b", "a")])).toEqual([]);
});
