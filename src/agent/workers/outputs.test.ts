import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { CloudEvent } from "../../model/event.ts";
import type { CatalogPlugin } from "../../model/plugin.ts";
import { problemOf } from "../outputs/batch-problem.ts";
import { until } from "../../testing/until.ts";
import { type TestBench, testBench } from "../../testing/worker-bench.ts";

let bench: TestBench;
let plugin: CatalogPlugin;
beforeAll(() => {
  bench = testBench({
    timing: { writeMs: 400, backoff: { kind: "exponential", initialMs: 20, maxMs: 100 } },
  });
  plugin = bench.plugin(
    "output",
    "lines",
    `import { appendFileSync } from "node:fs";
    const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    let file;
    export default defineOutput({
      name: "lines", description: "writes lines", settings: v.strictObject({ file: v.string() }),
      async init({ settings }) { file = settings.file; appendFileSync(file, "init\\n"); },
      async write({ settings }, events) {
        for (const event of events) {
          if (event.type === "refuse") throw new Error("no room");
          if (event.type === "die") process.exit(3);
          if (event.type === "hang") await new Promise(() => {});
          await wait(1);
          appendFileSync(settings.file, event.id + "\\n");
        }
      },
      async close() { appendFileSync(file, "close\\n"); },
    });`,
  );
});
afterAll(() => bench.close());

const event = (type: string, id: string): CloudEvent => ({
  specversion: "1.0",
  id,
  source: "urn:holdfast:agent:a/t",
  type,
  time: "2026-11-21T05:00:00Z",
});
const lines = (file: string) => readFileSync(file, "utf8").trim().split("\n");
const supervise = (file: string) =>
  bench.workers.superviseOutput({ name: "archive", plugin, settings: { file } });

test("batches are taken in order; init comes first and close last", async () => {
  const file = join(bench.dir, "order");
  const output = supervise(file);
  await Promise.all([1, 2, 3].map((n) => output.write([event("e", `${n}a`), event("e", `${n}b`)])));
  await output.stop();
  expect(lines(file)).toEqual(["init", "1a", "1b", "2a", "2b", "3a", "3b", "close"]);
  expect(output.write([event("e", "late")])).rejects.toThrow("archive is stopped");
});

test("a refused batch rejects, and the output goes on", async () => {
  const file = join(bench.dir, "refused");
  const output = supervise(file);
  expect(output.write([event("refuse", "1")])).rejects.toThrow("no room");
  await output.write([event("e", "2")]);
  expect(output.status()).toMatchObject({ kind: "output", state: "running", restarts: 0 });
  await output.stop();
  expect(lines(file)).toEqual(["init", "2", "close"]);
});

test.each([
  ["die", "exited(3)"],
  ["hang", "did not take a batch within 400 ms"],
])("a worker that fails in a write rejects it and is started again: %s", async (type, reason) => {
  const file = join(bench.dir, type);
  const output = supervise(file);
  await expect(output.write([event(type, "1")])).rejects.toThrow(reason);
  await until("a restart", () => output.status().restarts === 1 && output.status().state === "running");
  await output.write([event("e", "2")]);
  await output.stop();
  expect(lines(file)).toEqual(["init", "init", "2", "close"]);
});

test("wrong settings are told, and lead to quarantine", async () => {
  const output = bench.workers.superviseOutput({ name: "archive", plugin, settings: { fil: 1 } });
  await expect(output.write([event("e", "1")])).rejects.toThrow(/file: is missing.*fil: unknown setting/);
  await until("quarantine", () => output.status().state === "quarantined");
  await expect(output.write([event("e", "1")])).rejects.toThrow("archive is quarantined: 5 crashes");
  await output.stop();
  expect(existsSync(join(bench.workdir, "lines"))).toBe(false);
});

test("a batch that is taken in part says how far, and what is refused for good says so", async () => {
  const partly = bench.plugin(
    "output",
    "partly",
    `import { PartialWrite } from "holdfast";
    export default defineOutput({
      name: "partly", description: "takes some", settings: v.strictObject({}),
      async write(_, [first]) {
        if (first.type === "never") throw new ActionError("no such field", { retryable: false });
        throw new PartialWrite("full", { taken: 2, rejected: [{ index: 3, reason: "odd" }] });
      },
    });`,
  );
  const output = bench.workers.superviseOutput({ name: "archive", plugin: partly, settings: {} });
  const refusal = async (type: string) =>
    await output.write([event(type, "1")]).then(
      () => null,
      (error: unknown) => problemOf(error),
    );
  expect(await refusal("e")).toEqual({
    ...{ message: "full", code: "failed", retryable: true },
    ...{ taken: 2, rejected: [{ index: 3, reason: "odd" }] },
  });
  expect(await refusal("never")).toEqual({
    ...{ message: "no such field", code: "failed", retryable: false },
    ...{ taken: 0, rejected: [] },
  });
  await output.stop();
  expect(await refusal("e")).toMatchObject({ retryable: true });
});
