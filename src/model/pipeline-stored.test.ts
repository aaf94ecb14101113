import { expect, test } from "bun:test";
import { pipeline, step } from "../testing/definitions.ts";
import { storedPipeline } from "./pipeline-stored.ts";

test("a version of the first schema is what it was, with what came later left empty", () => {
  const old = (id: string, needs: string[]) => {
    const { action, with: input, timeoutMs, retry, effect } = step(id);
    return { id, action, needs, with: input, timeoutMs, retry, effect };
  };
  const stored = JSON.parse(
    JSON.stringify({
      name: "p",
      namespace: "web",
      concurrency: 2,
      steps: [old("a", []), old("b", ["a"])],
      onFailure: [old("e", []), old("f", ["e"])],
    }),
  );
  expect(storedPipeline(stored)).toEqual(
    pipeline([step("a"), step("b", { needs: ["a"] })], {
      namespace: "web",
      concurrency: 2,
      onFailure: [step("e"), step("f")],
    }),
  );
});

test("any later one is the very same", () => {
  const definition = pipeline([step("a")]);
  expect(storedPipeline(definition)).toBe(definition);
});
