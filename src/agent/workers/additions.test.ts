import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { HoldfastError } from "../../core/errors.ts";
import type { JsonObject } from "../../model/json.ts";
import type { Addition } from "../../model/pipeline.ts";
import type { CatalogPlugin } from "../../model/plugin.ts";
import { until } from "../../testing/until.ts";
import { type TestBench, testBench } from "../../testing/worker-bench.ts";
import type { ActionPool } from "./action-pool.ts";
import type { WorkerCall } from "./action-worker.ts";
import { MAX_ADDITIONS, parseAdditions } from "./additions.ts";
import { parseUpFrame } from "./up-frame.ts";

setDefaultTimeout(30_000);

let bench: TestBench;
let pool: ActionPool;
let plugin: CatalogPlugin;
const never = new AbortController().signal;

beforeAll(() => {
  bench = testBench({ timing: { cancelMs: 150 } });
  plugin = bench.plugin(
    "action",
    "adder",
    `import { appendFileSync, writeSync } from "node:fs";
    const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const told = ({ code, retryable, started, message }) => ({ code, retryable, started, message });
    let late;
    export default defineAction({
      name: "adder", description: "asks for steps",
      settings: v.strictObject({ do: v.string(), arg: v.optional(v.any()) }),
      async run(context) {
        const { settings: { do: what, arg } } = context;
        const note = async (work) => { try { await work(); return "done"; } catch (error) { return told(error); } };
        if (what === "all") {
          await context.add("one", { n: 1 });
          await context.addPipeline("two");
          await context.finally("three", { deep: [null] });
          await context.onFailure("four");
          await context.spawn("five", { text: "ü" });
          return "added";
        }
        if (what === "many") return (await Promise.all(Array.from({ length: arg }, (_, n) => note(() => context.add("one", { n })).then((each) => { if (each.code) context.log.info(each.code); return each; })))).map((each) => each.code ?? each);
        if (what === "wrong") return [await note(() => context.add(7)), await note(() => context.spawn("x", [1])), await note(() => context.add("y", { text: "x".repeat(2 ** 21) }))];
        if (what === "note") return await note(() => context.add("one"));
        if (what === "keep") { late = context; return null; }
        if (what === "late") return await note(() => late.add("one"));
        if (what === "raw") { const body = Buffer.from(JSON.stringify(arg)); const head = Buffer.alloc(4); head.writeUInt32BE(body.length); writeSync(3, Buffer.concat([head, body])); await wait(60_000); }
        if (what === "deaf") {
          const child = Bun.spawn(["sleep", "1000"]);
          const other = Bun.spawn(["setsid", "sleep", "1000"]);
          appendFileSync(arg, [process.pid, child.pid, other.pid].join(" "));
          for (;;) await wait(1000);
        }
      },
    });`,
  );
});
afterAll(() => bench.close());
afterEach(async () => await pool.stop());

function call(input: JsonObject, add: WorkerCall["add"], signal = never) {
  const about = { key: "r/s", run: "r", step: "s", attempt: 1, timeoutMs: 20_000 };
  return pool.call(plugin, { input, ...about, add }, signal);
}

function start() {
  pool = bench.workers.actionPool({ idleMs: 60_000 });
  const added: Addition[] = [];
  return { added, add: async (additions: Addition[]) => void added.push(...additions) };
}

describe("an action that asks for steps", () => {
  test("has each of them durable before it goes on, in its order", async () => {
    const { added, add } = start();
    expect(await call({ do: "all" }, add)).toEqual({ kind: "ok", output: "added" });
    expect(added).toEqual([
      { kind: "add", action: "one", pipeline: false, with: { n: 1 } },
      { kind: "add", action: "two", pipeline: true, with: {} },
      { kind: "finally", action: "three", pipeline: false, with: { deep: [null] } },
      { kind: "onFailure", action: "four", pipeline: false, with: {} },
      { kind: "spawn", action: "five", pipeline: true, with: { text: "ü" } },
    ]);
  });

  test("is told what was refused, and may go on", async () => {
    start();
    const refused = async () => {
      throw new HoldfastError("conflict", "its attempt is over");
    };
    const told = { code: "conflict", retryable: false, started: true, message: "its attempt is over" };
    expect(await call({ do: "note" }, refused)).toEqual({ kind: "ok", output: told });
    const broken = async () => {
      throw new HoldfastError("exhausted", "the disk is full", { retryable: true });
    };
    expect(await call({ do: "note" }, broken)).toMatchObject({
      output: { code: "exhausted", retryable: true },
    });
    // Not caught, it is the action's own error.
    expect(await call({ do: "all" }, refused)).toEqual({
      kind: "error",
      error: { code: "conflict", retryable: false, started: true, message: "its attempt is over" },
    });
  });

  test("gets its own mistakes back without harm to its worker", async () => {
    const { added, add } = start();
    const output = [
      { code: "invalid", retryable: false, started: true, message: expect.stringContaining("must name") },
      { code: "invalid", retryable: false, started: true, message: expect.stringContaining("input of x") },
      { code: "invalid", retryable: false, started: true, message: expect.stringContaining("characters") },
    ];
    expect(await call({ do: "wrong" }, add)).toMatchObject({ kind: "ok", output });
    expect(added).toEqual([]);
    expect(pool.statuses()[0]).toMatchObject({ state: "running", restarts: 0 });
  });

  test("may not leave ever more requests unanswered", async () => {
    start();
    const gate = Promise.withResolvers<void>();
    bench.lines.length = 0;
    const outcome = call({ do: "many", arg: 20 }, () => gate.promise);
    await until("four refusals", () => bench.lines.filter(({ message }) => message === "busy").length === 4);
    gate.resolve();
    const { output } = (await outcome) as unknown as { output: string[] };
    expect(output.filter((each) => each === "done").length).toBe(16);
    expect(output.filter((each) => each === "busy").length).toBe(4);
  });

  test("adds nothing after its end", async () => {
    const { added, add } = start();
    await call({ do: "keep" }, add);
    expect(await call({ do: "late" }, add)).toMatchObject({ output: { code: "conflict" } });
    expect(added).toEqual([]);
  });

  test("loses its worker when what it sends is no request", async () => {
    const { add } = start();
    const frame = { kind: "add", id: 1, call: 1, additions: [{ kind: "add" }] };
    expect(await call({ do: "raw", arg: frame }, add)).toMatchObject({
      kind: "unknown",
      error: { message: expect.stringContaining("must name an action") },
    });
  });
});

describe("additions from outside", () => {
  const good = { kind: "add", action: "a", pipeline: false, with: {} };

  test.each([
    ["no list", {}],
    ["an empty list", []],
    ["too many", Array.from({ length: MAX_ADDITIONS + 1 }, () => good)],
    ["no object", [null]],
    ["a list in place of an object", [[]]],
    ["an unknown kind", [{ ...good, kind: "undo" }]],
    ["no name", [{ ...good, action: "" }]],
    ["a name that is none", [{ ...good, action: { toString: "x" } }]],
    ["a long name", [{ ...good, action: "x".repeat(257) }]],
    ["an odd flag", [{ ...good, pipeline: "yes" }]],
    ["an input that is a list", [{ ...good, with: [] }]],
    ["no input", [{ ...good, with: null }]],
    ["more fields", [{ ...good, effect: "idempotent" }]],
    ["a time for what is done now", [{ ...good, due: { inMs: 5 } }]],
    ["nothing to be put off to", [{ ...good, kind: "later" }]],
    ["a time that is none", [{ ...good, kind: "later", due: { inMs: -1 } }]],
    ["a time in a text", [{ ...good, kind: "later", due: { atMs: "5" } }]],
    ["two times", [{ ...good, kind: "later", due: { inMs: 5, atMs: 5 } }]],
    ["a time in a hundred years", [{ ...good, kind: "later", due: { inMs: 3.2e12 } }]],
    ["too much input", [{ ...good, with: { text: "x".repeat(256 * 1024) } }]],
  ])("%s", (_what, value) => {
    expect(() => parseAdditions(value)).toThrow(HoldfastError);
    expect(() => parseUpFrame({ kind: "add", id: 1, call: 2, additions: value })).toThrow(HoldfastError);
  });

  test("come through as they are; what is spawned is a pipeline", () => {
    const frame = { kind: "add", id: 1, call: 2, additions: [good, { ...good, kind: "spawn" }], more: 1 };
    expect(parseUpFrame(frame) as unknown).toEqual({
      kind: "add",
      id: 1,
      call: 2,
      additions: [good, { ...good, kind: "spawn", pipeline: true }],
    });
    expect(() => parseUpFrame({ ...frame, call: "2" })).toThrow(HoldfastError);
  });
});

test("a cancelled call that does not listen is settled when its worker and all it started are gone", async () => {
  const { add } = start();
  await call({ do: "keep" }, add);
  const file = join(bench.dir, "pids");
  const controller = new AbortController();
  const outcome = call({ do: "deaf", arg: file }, add, controller.signal);
  await until("the call", () => pidsIn(file).length === 3, 20_000);
  const pids = pidsIn(file);
  expect(pids.filter(alive)).toEqual(pids);
  controller.abort();
  expect(await outcome).toEqual({
    kind: "unknown",
    error: { code: "cancelled", message: "the call was cancelled", retryable: true, started: true },
  });
  expect(alive(pids[0]!)).toBe(false);
  // They were killed before; the kernel may need a moment to take them away.
  await until("the end of its children", () => !pids.some(alive), 20_000);
});

function pidsIn(file: string): string[] {
  try {
    return readFileSync(file, "utf8").split(" ").filter(Boolean);
  } catch {
    return [];
  }
}

/** Zombies that nobody has reaped do not live. */
function alive(pid: string): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}
