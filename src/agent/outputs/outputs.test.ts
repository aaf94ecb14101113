import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { silentLogger } from "../../core/logger.ts";
import type { CatalogPlugin } from "../../model/plugin.ts";
import { outputSchema } from "../../model/output-config.ts";
import { until } from "../../testing/until.ts";
import { type TestBench, testBench } from "../../testing/worker-bench.ts";
import { commitOf, type Fixture, fixture } from "../store/store-fixtures.ts";
import type { AgentStore } from "../store/port.ts";
import { Outputs } from "./outputs.ts";

let bench: TestBench;
let plugin: CatalogPlugin;
let files: Fixture;
let store: AgentStore;
let outputs: Outputs;

beforeAll(() => {
  bench = testBench({
    timing: { writeMs: 1000, backoff: { kind: "exponential", initialMs: 20, maxMs: 100 } },
  });
  plugin = bench.plugin(
    "output",
    "lines",
    `import { appendFileSync, existsSync, writeFileSync } from "node:fs";
    const once = (file) => existsSync(file) ? false : (writeFileSync(file, ""), true);
    export default defineOutput({
      name: "lines", description: "writes lines", settings: v.strictObject({ file: v.string() }),
      async write({ settings: { file } }, events) {
        for (const { id } of events) {
          if (id.startsWith("bad")) throw new ActionError("no such field", { retryable: false });
          if (id.startsWith("hang") && once(file + id)) await new Promise(() => {});
        }
        appendFileSync(file, events.map(({ id }) => id + "\\n").join(""));
        if (events.some(({ id }) => id.startsWith("die")) && once(file + ".died")) process.kill(process.pid, 9);
      },
    });`,
  );
});
afterAll(() => bench.close());

beforeEach(async () => {
  files = fixture();
  store = await files.open();
  outputs = new Outputs({
    find: (name) => (name === "lines" ? plugin : undefined),
    missing: (name) => `there is no plugin ${name}`,
    supervise: (part) => bench.workers.superviseOutput(part),
    eventsAfter: (n, limit) => store.eventsAfter(n, limit),
    lastEvent: () => store.lastEvent(),
    cursor: (output) => store.outputCursor(output),
    setCursor: (output, n) => store.setOutputCursor(output, n),
    tell: async () => {},
    clock: systemClock(),
    ids: systemIds(),
    log: silentLogger(),
  });
});
afterEach(async () => {
  await outputs.stop();
  await files.end();
});

const file = (name: string) => join(bench.dir, name);
const lines = (name: string) =>
  existsSync(file(name)) ? readFileSync(file(name), "utf8").split("\n").slice(0, -1) : [];
const output = (name: string, more: object = {}) =>
  v.parse(outputSchema, {
    ...{ name, plugin: "lines", with: { file: file(name) }, retry: { initial: "10ms", max: "50ms" } },
    ...more,
  });

async function begin(...configs: ReturnType<typeof output>[]): Promise<void> {
  for (const { name } of configs) await store.setOutputCursor(name, 0);
  outputs.start(configs);
}

async function add(ids: string[]): Promise<void> {
  await store.commitEvents(commitOf(ids));
  outputs.poke();
}

test("two outputs of one plugin have a worker each, and do not mix", async () => {
  await begin(
    output("odd", { match: 'event.id.endsWith("1")' }),
    output("even", { match: 'event.id.endsWith("2")' }),
  );
  await add(["a1", "a2", "b1", "b2"]);
  await until("both", () => lines("odd").length === 2 && lines("even").length === 2, 20_000);
  expect([lines("odd"), lines("even")]).toEqual([
    ["a1", "b1"],
    ["a2", "b2"],
  ]);
});

test("a worker that is killed after it wrote gets the batch once more, and one that hangs is replaced", async () => {
  await begin(output("killed"), output("hung"));
  await add(["a", "die-1", "b", "hang-1", "c"]);
  const done = () => lines("killed").filter((id) => id === "c").length === 2 && lines("hung").includes("c");
  await until("all", done, 20_000);
  const batch = ["a", "die-1", "b", "hang-1", "c"];
  expect(lines("killed")).toEqual([...batch, ...batch]);
  await add(["d"]);
  await until("the next", () => lines("killed").at(-1) === "d", 20_000);
});

test("what is refused for good holds up nothing, here or elsewhere", async () => {
  await begin(output("picky", { batch: { events: 2 } }), { ...output("absent"), plugin: "none" });
  await add(["a", "bad-1", "b", "c", "bad-2"]);
  const status = () => outputs.statuses().map(({ state, delivery }) => [state, delivery?.rejected]);
  await until("both", () => status()[0]![1] === 2, 20_000);
  expect(lines("picky")).toEqual(["a", "b", "c"]);
  expect(status()[1]).toEqual(["failed", undefined]);
});

test("the example of docs/outputs.md is valid, and its defaults are those told", async () => {
  const text = await Bun.file(join(import.meta.dir, "../../../docs/outputs.md")).text();
  const yaml = /```yaml\n([^]*?)```/.exec(text)![1]!;
  const { outputs } = Bun.YAML.parse(yaml) as { outputs: unknown[] };
  const [example] = v.parse(v.array(outputSchema), outputs);
  const bare = v.parse(outputSchema, { name: "bare", plugin: "file" });
  expect([example!.retry, example!.breaker]).toEqual([bare.retry, bare.breaker]);
  expect(bare).toMatchObject({ batch: { events: 256, size: "1MB", delay: "0s" }, backlog: 900_000 });
  for (const size of ["x", "5MB", "1B", "9999999999999GB"])
    expect(v.is(outputSchema, { name: "bare", plugin: "file", batch: { size } })).toBe(false);
});
