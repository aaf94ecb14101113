import { expect, test } from "bun:test";
import * as v from "valibot";
import { type ConfigInput, configSchema } from "../../model/config.ts";
import { pipelineDefinitions, ruleDefinitions } from "./definitions.ts";

const configOf = (input: ConfigInput) => v.parse(configSchema, input);

test("rules: lists, durations, defaults; disabled ones are left out", () => {
  const config = configOf({
    rules: [
      { name: "a", on: "front", when: "true", run: "p", cooldown: "1m30s", params: { x: 1 } },
      { name: "b", on: ["x", "y"], type: "probe.down", run: "p" },
      { name: "c", on: "*", run: "p", enabled: false },
    ],
  });
  expect(ruleDefinitions(config)).toEqual([
    { name: "a", on: ["front"], types: [], when: "true", run: "p", cooldownMs: 90_000, params: { x: 1 } },
    {
      name: "b",
      on: ["x", "y"],
      types: ["probe.down"],
      when: undefined,
      run: "p",
      cooldownMs: 0,
      params: {},
    },
  ]);
});

test("pipelines: the step's effect goes before the action's, on_failure runs in its order", () => {
  const config = configOf({
    pipelines: {
      p: {
        concurrency: 2,
        steps: [
          { id: "a", action: "http", retry: { attempts: 3, backoff: "linear", initial: "2s", max: "10s" } },
          { id: "b", action: "http", needs: ["a", "a"], effect: "ask", timeout: "1m" },
        ],
        on_failure: [
          { id: "c", action: "exec" },
          { id: "d", action: "exec", needs: ["a"] },
          { id: "e", action: "exec", needs: ["d"] },
        ],
      },
    },
  });
  const pipelines = pipelineDefinitions(config, (action) =>
    action === "http" ? "idempotent" : "at-most-once",
  );
  const p = pipelines.get("p")!;
  expect([...pipelines.keys()]).toEqual(["p"]);
  expect(p.steps[0]).toEqual({
    id: "a",
    action: "http",
    needs: [],
    with: {},
    timeoutMs: 30_000,
    retry: { attempts: 3, kind: "linear", initialMs: 2000, maxMs: 10_000 },
    effect: "idempotent",
  });
  expect(p.steps[1]).toMatchObject({ needs: ["a"], effect: "ask", timeoutMs: 60_000 });
  expect(p.onFailure.map(({ needs, effect }) => [needs, effect])).toEqual([
    [[], "at-most-once"],
    [["c", "a"], "at-most-once"],
    [["d"], "at-most-once"],
  ]);
  expect(p).toMatchObject({ name: "p", namespace: "default", concurrency: 2 });
});
