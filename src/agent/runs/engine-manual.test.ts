/** Runs that people start, and what becomes of those that ended badly. */
import { expect, test } from "bun:test";
import type { ParameterDefinition } from "../../model/pipeline.ts";
import { pipeline as aPipeline, step as aStep } from "../../testing/definitions.ts";
import { AN_EVENT, failed, ok, runRig } from "../../testing/engine-rig.ts";

const parameter = (name: string, options: Partial<ParameterDefinition> = {}): ParameterDefinition => ({
  name,
  type: "string",
  description: "",
  required: true,
  default: null,
  pattern: null,
  choices: null,
  ...options,
});

test("a run of a person has its parameters checked, its starter kept, and no event", async () => {
  const definition = aPipeline(
    [aStep("a", { with: { all: "${{ params }}", by: "${{ run.starter.by }}" } })],
    {
      params: [parameter("who"), parameter("n", { type: "int", required: false, default: 3 })],
    },
  );
  const rig = runRig(definition, () => ok());
  const start = (params: Record<string, string>) =>
    rig.engine.start({ pipeline: "p", params, by: "local:5" });
  await expect(start({})).rejects.toThrow("who");
  await expect(start({ who: "x", nope: "y" })).rejects.toThrow("nope");
  await expect(rig.engine.start({ pipeline: "q", params: {}, by: "local:5" })).rejects.toThrow(
    "there is no pipeline q",
  );
  expect(rig.store.runs.size).toBe(0);
  const id = await start({ who: "x" });
  expect(rig.store.runs.get(id)!.run).toMatchObject({
    starter: { kind: "manual", by: "local:5" },
    rule: null,
  });
  expect((await rig.ended(id)).run.state).toBe("succeeded");
  expect(rig.calls[0]!.input).toEqual({ all: { who: "x", n: 3 }, by: "local:5" });
});

test("a run that ended runs again as a new one, with its event and parameters", async () => {
  const definition = aPipeline([aStep("a", { with: { n: "${{ event.data.n }}", x: "${{ params.x }}" } })]);
  const rig = runRig(definition, () => ok());
  const id = rig.start({ x: 1 });
  await expect(rig.engine.retry(id, "local:5")).rejects.toThrow("only a run that has ended");
  await expect(rig.engine.retry("nope", "local:5")).rejects.toThrow("there is no run nope");
  await rig.ended(id);
  const again = await rig.engine.retry(id, "local:5");
  const { run } = await rig.ended(again);
  expect(run).toMatchObject({
    state: "succeeded",
    retryOf: id,
    rule: "rule",
    starter: { kind: "retry", by: "local:5" },
    eventId: AN_EVENT.id,
  });
  expect(rig.calls[1]!.input).toEqual({ n: 7, x: 1 });
});

test("a step that fails again and again is dead after about 0, 1, 3 and 7 seconds; every error is in the letter", async () => {
  const retry = { attempts: 4, kind: "exponential" as const, initialMs: 1000, maxMs: 60_000 };
  let bad = true;
  const rig = runRig(aPipeline([aStep("a", { retry, effect: "idempotent" })]), () =>
    bad ? failed(true) : ok(),
  );
  const began = rig.clock.wall();
  const id = rig.start({ x: 1 });
  expect((await rig.ended(id)).run).toMatchObject({ state: "failed" });
  expect(rig.store.step(id, "a")).toMatchObject({ state: "dead", attempts: 4 });
  const letter = rig.store.letters.get(id)!;
  expect(letter).toMatchObject({ pipeline: "p", rule: "rule", params: { x: 1 }, state: "failed" });
  expect(
    letter.errors.map(({ step, attempt, atMs, error }) => [step, attempt, atMs - began, error.code]),
  ).toEqual([
    ["a", 1, 0, "failed"],
    ["a", 2, 1000, "failed"],
    ["a", 3, 3000, "failed"],
    ["a", 4, 7000, "failed"],
  ]);

  bad = false;
  rig.store.editParams(id, { x: 2 });
  const again = await rig.engine.retryDead(id, "local:5");
  expect(rig.store.letters.size).toBe(0);
  expect((await rig.ended(again)).run).toMatchObject({ state: "succeeded", params: { x: 2 }, retryOf: id });
  await expect(rig.engine.retryDead(id, "local:5")).rejects.toThrow("there is no dead letter");
});

test("an error that is not to be retried goes to the letters at once; a child's is its parent's", async () => {
  const pipelines = [
    aPipeline([aStep("sub", { work: "pipeline", action: "child" })]),
    aPipeline([aStep("a", { retry: { attempts: 3, kind: "fixed", initialMs: 1, maxMs: 9 } })], {
      name: "child",
    }),
  ];
  const rig = runRig(pipelines, () => failed(false, false));
  const { run, steps } = await rig.ended(rig.start());
  expect(rig.calls).toHaveLength(1);
  expect([...rig.store.letters.keys()]).toEqual([run.id]);
  expect(steps[0]!.error!.message).toContain(
    "run " + steps[0]!.extra!.child! + " of pipeline child is failed: step a is failed: no",
  );
});

test("a child gets its parameters checked, and its output is the step's", async () => {
  const child = aPipeline([aStep("a", { with: { n: "${{ params.n }}" } })], {
    name: "child",
    params: [parameter("n", { type: "int" })],
    output: { twice: "${{ steps.a.output }}" },
  });
  const parent = (n: string) =>
    aPipeline([aStep("sub", { work: "pipeline", action: "child", with: { n } })], {
      output: { got: "${{ steps.sub.output.twice }}" },
    });
  const rig = runRig([parent("${{ params.n }}"), child], ({ input }) => ok(2 * (input.n as number)));
  const { run } = await rig.ended(rig.start({ n: 21 }));
  expect(run).toMatchObject({ state: "succeeded", output: { got: 42 } });
  const wrong = await rig.ended(rig.start({ n: "x" }));
  expect(wrong.steps[0]!.error).toMatchObject({ code: "invalid", started: false });
  const gone = runRig(aPipeline([aStep("sub", { work: "pipeline", action: "nope" })]), () => ok());
  expect((await gone.ended(gone.start())).steps[0]!.error).toMatchObject({ code: "not_found" });
});
