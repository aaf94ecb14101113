import { expect, test } from "bun:test";
import type { ParameterDefinition } from "../../model/pipeline.ts";
import { pipeline, step } from "../../testing/definitions.ts";
import { BY_RULE, failed, ok, runRig } from "../../testing/engine-rig.ts";

const declared = (name: string, more: Partial<ParameterDefinition> = {}): ParameterDefinition => ({
  ...{ name, type: "string", description: "", required: true, default: null, pattern: null, choices: null },
  ...more,
});

test("steps wait for the memory of their namespace, then see what is in it", async () => {
  let read = () => {};
  const ready = new Promise<void>((resolve) => (read = resolve));
  let values: Record<string, unknown> = {};
  const rig = runRig(
    pipeline([step("a", { with: { n: "${{ memory.count + 1 }}" } }), step("b", { with: {}, needs: ["a"] })], {
      namespace: "web",
    }),
    () => ok(),
    {
      memory: {
        values: (namespace) => (namespace === "web" ? values : {}),
        ready: () => (Object.keys(values).length > 0 ? null : ready),
      },
    },
  );
  const id = rig.start();
  await rig.until("nothing yet", () => true);
  expect(rig.called()).toEqual([]);
  values = { count: 4n };
  read();
  await rig.ended(id);
  expect(rig.calls.map(({ step: name, input, namespace }) => [name, input, namespace])).toEqual([
    ["a", { n: 5 }, "web"],
    ["b", {}, "web"],
  ]);
});

const SHARED = { region: "eu", unit: "front", count: 7 };
const parameters = {
  json: () => SHARED,
  cel: () => ({ region: "eu", unit: "front", count: 7n }),
};

test("what is not given is found, is not kept with the run, and gives way to defaults and to what is given", async () => {
  const input = { text: "${{ params.region }} ${{ params.unit }} ${{ params.count }}" };
  const rig = runRig(
    pipeline([step("a", { with: input })], {
      params: [
        declared("unit"),
        declared("count", { type: "int" }),
        declared("region", { required: false, default: "from-pipeline" }),
      ],
    }),
    () => ok(),
    { parameters },
  );
  const first = await rig.ended(rig.start({}));
  const second = await rig.ended(rig.start({ region: "given", unit: "other" }));
  expect(rig.calls.map((call) => call.input.text)).toEqual(["from-pipeline front 7", "given other 7"]);
  expect([first.run.params, second.run.params]).toEqual([
    { region: "from-pipeline" },
    { region: "given", unit: "other" },
  ]);
});

test("what is found must fit what is declared", () => {
  const rig = runRig(
    pipeline([step("a")], { params: [declared("unit", { type: "int" }), declared("missing")] }),
    () => ok(),
    { parameters },
  );
  const build = () => rig.engine.build({ pipeline: "p", starter: BY_RULE, event: null, params: {} });
  expect(build).toThrow("'front' is not a whole number, which parameter 'unit' must be");
  expect(build).toThrow("missing: 'missing'");
});

test("a place stands for a secret in what an action is given, and nowhere else; added steps get none", async () => {
  const rig = runRig(
    pipeline([
      step("a", {
        with: { token: "Bearer ${{ secrets.TOKEN }}", url: "http://${{ secrets.HOST }}/" },
      }),
    ]),
    async (call) => {
      if (call.step === "a")
        await call.add([
          { kind: "add", action: "b", pipeline: false, with: { stolen: "${{ secrets.TOKEN }}" } },
        ]);
      return ok();
    },
    { secretPlace: (name) => `<${name}>` },
  );
  const ended = await rig.ended(rig.start());
  expect(rig.calls[0]).toMatchObject({
    input: { token: "Bearer <TOKEN>", url: "http://<HOST>/" },
    secrets: ["TOKEN", "HOST"],
  });
  expect(rig.calls.slice(1).map(({ input }) => input.stolen)).not.toContain("<TOKEN>");
  expect(JSON.stringify(ended.steps)).not.toContain("<TOKEN>");
});

test("what is told of a step shows that there is a secret, and no place", async () => {
  const destination = "http://${{ secrets.HOST }}/";
  const rig = runRig(
    pipeline([
      step("a", { with: { url: destination }, breaker: { destination, failures: 1, delayMs: 60_000 } }),
    ]),
    () => failed(true, true),
    { secretPlace: (name) => `<${name}>` },
  );
  await rig.ended(rig.start());
  expect(rig.engine.breakers().map((each) => each.destination)).toEqual(["http://***"]);
});
