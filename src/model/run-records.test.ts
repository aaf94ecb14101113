import { expect, test } from "bun:test";
import { pipeline, step } from "../testing/definitions.ts";
import { newRun } from "./run-build.ts";
import { runRecord } from "./run-records.ts";

const options = {
  definitionHash: "h",
  rule: null,
  starter: { kind: "manual", by: "local:0" } as const,
  event: null,
  params: {},
  createdMs: 1,
};

test("a run's record tells its state as it is, and the steps of its own pipeline", () => {
  const first = pipeline([step("a"), step("b", { needs: ["a"] })], { finally: [step("last")] });
  const second = pipeline([step("c")]);
  const records = [first, second, first].map((definition, index) => {
    const { run } = newRun({ ...options, id: `run-${index}`, definition });
    return JSON.parse(runRecord({ ...run, state: "running", startedMs: index }, definition).body);
  });
  expect(records.map(({ id, state, startedMs }) => [id, state, startedMs])).toEqual([
    ["run-0", "running", 0],
    ["run-1", "running", 1],
    ["run-2", "running", 2],
  ]);
  expect(records.map(({ steps }) => steps.map(({ id }: { id: string }) => id))).toEqual([
    ["a", "b", "last"],
    ["c"],
    ["a", "b", "last"],
  ]);
  expect(records[0].steps[1]).toEqual({
    id: "b",
    action: "b",
    needs: ["a"],
    part: "steps",
    effect: "at-most-once",
    work: "action",
  });
});
