import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject } from "../../model/json.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import type { CatalogPlugin } from "../../model/plugin.ts";
import { noAdditions } from "../../testing/no-additions.ts";
import { type TestBench, testBench } from "../../testing/worker-bench.ts";
import { until } from "../../testing/until.ts";
import type { ActionPool } from "./action-pool.ts";

let bench: TestBench;
let pool: ActionPool;
let plugin: CatalogPlugin;
const never = new AbortController().signal;

beforeAll(() => {
  bench = testBench({
    timing: { cancelMs: 150, backoff: { kind: "exponential", initialMs: 20, maxMs: 100 } },
  });
  plugin = bench.plugin(
    "action",
    "many",
    `import { appendFileSync, openSync, readdirSync, writeSync } from "node:fs";
    const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    export default defineAction({
      name: "many", description: "does as it is told",
      settings: v.strictObject({ do: v.string(), arg: v.optional(v.any()) }),
      async run({ settings: { do: what, arg }, signal, key, attempt, agent, log, timeoutMs }) {
        if (what === "echo") return { arg, key, attempt, agent, limited: timeoutMs > 0 };
        if (what === "env") return { env: process.env, cwd: process.cwd(), pid: process.pid, fds: readdirSync("/proc/self/fd") };
        if (what === "child fds") return (await Bun.$\`ls -l /proc/self/fd\`.text()).split("\\n").filter((l) => l.includes("socket"));
        if (what === "wait") { await wait(arg); return "waited"; }
        if (what === "polite") {
          appendFileSync(arg, "begun, ");
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          appendFileSync(arg, "cleaned");
          throw new Error("gave up");
        }
        if (what === "vouch") {
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          throw new ActionError("not begun", { started: false, code: "later" });
        }
        if (what === "hang") for (;;) {}
        if (what === "rude") await new Promise(() => {});
        if (what === "crash") process.exit(7);
        if (what === "stray") { setTimeout(() => { throw new Error("stray error"); }, 1); await wait(5000); }
        if (what === "garbage") { writeSync(3, "this is no frame at all"); await wait(5000); }
        if (what === "oversized") { const b = Buffer.alloc(4); b.writeUInt32BE(9 * 1024 * 1024); writeSync(3, b); await wait(5000); }
        if (what === "unasked") { writeSync(3, Buffer.concat([Buffer.from([0, 0, 0, 16]), Buffer.from('{"kind":"emitx"}')])); await wait(5000); }
        if (what === "big") return "x".repeat(6 * 1024 * 1024);
        if (what === "refuse") throw new ActionError("no", { retryable: false, started: false, code: "denied" });
        if (what === "files") for (const kept = []; ; kept.push(openSync("/dev/null", "r")));
        if (what === "stray files") { setTimeout(() => { for (const kept = []; ; kept.push(openSync("/dev/null", "r"))); }, 1); await wait(5000); }
        if (what === "throw") throw new Error("plain");
        if (what === "circle") { const a = {}; a.a = a; return a; }
        if (what === "nothing") return;
        if (what === "log") { for (let i = 0; i < arg; i++) console.log("line " + i); console.log("y".repeat(20000)); log.info("token", { api_token: "s3cret" }); }
        return null;
      },
    });`,
  );
});
afterAll(() => bench.close());
afterEach(async () => await pool.stop());

const start = (idleMs = 60_000) => (pool = bench.workers.actionPool({ idleMs }));
const call = (input: JsonObject, timeoutMs = 10_000, signal = never) =>
  pool.call(
    plugin,
    { input, key: "run1/step1", run: "run1", step: "step1", attempt: 2, timeoutMs, add: noAdditions },
    signal,
  );
const error = (
  code: string,
  retryable: boolean,
  started: boolean,
  message: string = expect.any(String) as never,
) =>
  ({
    kind: "error" as const,
    error: { code, retryable, started, message },
  }) as AttemptOutcome;
const unknown = (code: string, message: string) =>
  ({
    kind: "unknown",
    error: { code, message, retryable: true, started: true },
  }) as AttemptOutcome;
const outputOf = <T>(outcome: AttemptOutcome) => (outcome as unknown as { output: T }).output;

describe("a call", () => {
  test("gives its context and returns its output", async () => {
    start();
    expect(await call({ do: "echo", arg: { a: [1] } })).toEqual({
      kind: "ok",
      output: {
        arg: { a: [1] },
        key: "run1/step1",
        attempt: 2,
        limited: true,
        agent: { id: "test-01", labels: { role: "test" }, home: bench.dir },
      },
    });
    expect(await call({ do: "nothing" })).toEqual({ kind: "ok", output: null });
  });

  test("with many at once share one worker and do not wait for each other", async () => {
    start();
    const slow = call({ do: "wait", arg: 200 });
    const fast = await Promise.all(Array.from({ length: 200 }, (_, arg) => call({ do: "echo", arg })));
    expect(fast.map((outcome) => outputOf<{ arg: number }>(outcome).arg)).toEqual(
      Array.from({ length: 200 }, (_, arg) => arg),
    );
    expect(readdirSync(bench.workdir)).toHaveLength(1);
    expect(await slow).toEqual({ kind: "ok", output: "waited" });
  });

  test("that fails says what may be done about it", async () => {
    start();
    expect(await call({ do: "refuse" })).toEqual(error("denied", false, false, "no"));
    expect(await call({ do: "throw" })).toEqual(error("failed", true, true, "plain"));
    expect(await call({ do: "circle" })).toEqual(
      error("failed", true, true, expect.stringContaining("JSON")),
    );
    expect(await call({ do: 1, more: 2 })).toEqual(
      error("invalid", false, false, expect.stringMatching(/do: .*; more: /)),
    );
    expect(await call({ do: "x".repeat(9 * 1024 * 1024) })).toEqual(error("too_large", false, false));
  });

  test("that may open no more files says so, and so does a worker that ends by it", async () => {
    start();
    expect(await call({ do: "files" })).toEqual(
      error("files", true, true, expect.stringMatching(/^files: no more could be opened: EMFILE/)),
    );
    await pool.stop();
    start();
    const outcome = await call({ do: "stray files" });
    expect(outcome).toEqual(unknown("files", expect.stringContaining("files: 256 open at once are allowed")));
  });

  test("with an output too large for a frame is done, and the output is cut", async () => {
    start();
    expect(await call({ do: "big" })).toMatchObject({
      kind: "ok",
      output: { truncated: true, bytes: 6291458 },
    });
  });
});

describe("the process", () => {
  test("has an environment from nothing, a folder of its own and no descriptors of ours", async () => {
    process.env.HOLDFAST_TEST_SECRET = "s3cret";
    start();
    const output = outputOf<{ env: object; cwd: string; pid: number }>(await call({ do: "env" }));
    expect(
      Object.keys(output.env)
        // The engine's own settings are there where the kernel limits its reservations.
        .filter((name) => name !== "TZ" && !/^(BUN_JSC|MIMALLOC)_/.test(name))
        .sort(),
    ).toEqual(["HOME", "LANG", "PATH", "TMPDIR"]);
    expect(output.env).toMatchObject({ HOME: output.cwd, TMPDIR: output.cwd });
    expect(readFileSync(`/proc/${output.pid}/environ`, "utf8")).not.toContain("HOLDFAST_TEST_SECRET");
    expect(output.cwd.startsWith(bench.workdir)).toBe(true);
    expect(await call({ do: "child fds" })).toEqual({ kind: "ok", output: [] });
    await pool.stop();
    expect(existsSync(output.cwd)).toBe(false);
    delete process.env.HOLDFAST_TEST_SECRET;
  });

  test("ends when idle and comes back for the next call", async () => {
    start(50);
    await call({ do: "nothing" });
    expect(pool.statuses()).toMatchObject([{ name: "many", kind: "action", state: "running", restarts: 0 }]);
    await until(
      "idle",
      () => pool.statuses()[0]!.state === "stopped" && readdirSync(bench.workdir).length === 0,
    );
    expect(await call({ do: "nothing" })).toEqual({ kind: "ok", output: null });
    expect(pool.statuses()[0]!.restarts).toBe(0);
  });

  test("ends before its time when its memory is wanted, but not in the middle of a call", async () => {
    start();
    const before = bench.workers.use().memoryBytes;
    const under = call({ do: "wait", arg: 300 });
    await until("it runs", () => bench.workers.use().memoryBytes > before);
    expect(pool.stopIdle()).toBe(0);
    expect(await under).toEqual({ kind: "ok", output: "waited" });
    expect(pool.stopIdle()).toBe(1);
    expect(pool.stopIdle()).toBe(0);
    await until("it is gone", () => readdirSync(bench.workdir).length === 0);
    expect(bench.workers.use().memoryBytes).toBe(before);
    expect(await call({ do: "nothing" })).toEqual({ kind: "ok", output: null });
    expect(pool.statuses()[0]!.restarts).toBe(0);
  });

  test("has its lines logged: capped, limited in rate, without secrets", async () => {
    start();
    bench.lines.length = 0;
    await call({ do: "log", arg: 5000 });
    await pool.stop();
    const texts = bench.lines.map((line) => String(line.message));
    expect(texts.slice(0, 500)).toEqual(Array.from({ length: 500 }, (_, n) => `line ${n}`));
    expect(texts.length).toBeLessThan(2000);
    expect(Math.max(...texts.map((text) => text.length))).toBeLessThan(9000);
    expect(texts.some((text) => text.includes("lines were dropped"))).toBe(true);
    expect(JSON.stringify(bench.lines)).not.toContain("s3cret");
  });
});

describe("a call that is cut off", () => {
  test("may clean up, and is unknown", async () => {
    start();
    // With a worker that is there, so that the time is the action's.
    await call({ do: "nothing" });
    const file = join(bench.dir, "cleaned");
    expect(await call({ do: "polite", arg: file }, 200)).toEqual(
      unknown("timed_out", "it did not end within 200 ms: gave up"),
    );
    expect(readFileSync(file, "utf8")).toBe("begun, cleaned");
    expect(pool.statuses()[0]).toMatchObject({ state: "running", restarts: 0 });
  });

  test("is an error when the action vouches that nothing was done", async () => {
    start();
    // With a worker that is there, so that the time is the action's.
    await call({ do: "nothing" });
    expect(await call({ do: "vouch" }, 200)).toEqual(error("later", true, false, "not begun"));
  });

  test.each(["rude", "hang"])("is unknown and costs the worker when it does not end: %s", async (what) => {
    start();
    // With a worker that is there, so that the time is the action's.
    await call({ do: "nothing" });
    const other = call({ do: "wait", arg: 60_000 }, 60_000);
    expect(await call({ do: what }, 300)).toEqual(unknown("timed_out", "it did not end within 300 ms"));
    expect(await other).toEqual(unknown("time", expect.stringContaining("the worker died: ")));
    expect(await call({ do: "nothing" })).toEqual({ kind: "ok", output: null });
  });

  test("by its caller is unknown too", async () => {
    start();
    // With a worker that is there, so that the time is the action's.
    await call({ do: "nothing" });
    const controller = new AbortController();
    const file = join(bench.dir, "cancelled");
    const outcome = call({ do: "polite", arg: file }, 10_000, controller.signal);
    await until("the call", () => existsSync(file));
    controller.abort();
    expect(await outcome).toEqual(unknown("cancelled", expect.stringContaining("cancelled")));
    expect(await call({ do: "nothing" }, 1000, controller.signal)).toEqual(error("cancelled", true, false));
  });
});

describe("a worker that dies takes its calls with it as unknown", () => {
  test.each([
    ["crash", "exited(7)"],
    ["stray", "stray error"],
    ["garbage", "broke the channel"],
    ["oversized", "at most"],
    ["unasked", "unknown kind"],
  ])("%s", async (what, reason) => {
    start();
    const other = call({ do: "wait", arg: 60_000 });
    expect(await call({ do: what })).toEqual(unknown("crashed", expect.stringContaining(reason)));
    expect(await other).toMatchObject({ kind: "unknown" });
    expect(pool.statuses()[0]).toMatchObject({ state: "stopped", reason: expect.stringContaining(reason) });
  });

  test("killed from outside, in the middle of a call", async () => {
    start();
    const output = outputOf<{ pid: number }>(await call({ do: "env" }));
    const under = call({ do: "rude" });
    process.kill(output.pid, "SIGKILL");
    expect(await under).toEqual(
      unknown("crashed", expect.stringContaining("the worker died: crashed(SIGKILL)")),
    );
  });

  test("five times within a minute: quarantine, until it is reset", async () => {
    start();
    for (let n = 0; n < 5; n++) expect(await call({ do: "crash" })).toMatchObject({ kind: "unknown" });
    expect(await call({ do: "nothing" })).toEqual(
      error("quarantined", true, false, expect.stringContaining("exited(7)")),
    );
    expect(pool.statuses()[0]).toMatchObject({ state: "quarantined", restarts: 4 });
    expect(pool.reset("many")).toBe(true);
    expect(await call({ do: "nothing" })).toEqual({ kind: "ok", output: null });
  }, 10_000);
});

describe("a plugin that cannot be loaded", () => {
  const run = (broken: CatalogPlugin) =>
    pool.call(
      broken,
      { input: {}, key: "k", run: "r", step: "s", attempt: 1, timeoutMs: 5000, add: noAdditions },
      never,
    );

  test("gives an error that nothing was started", async () => {
    start();
    const throws = bench.plugin("action", "throws", `throw new TypeError("bad day");`);
    expect(await run(throws)).toEqual(error("unavailable", true, false, expect.stringContaining("bad day")));
    const nothing = bench.plugin("action", "nothing", `export const x = 1;`);
    expect(await run(nothing)).toEqual(
      error("unavailable", true, false, expect.stringContaining("no default export")),
    );
    const absent: CatalogPlugin = { ...nothing, entry: { file: "/nowhere/plugin.ts" } };
    expect(await run(absent)).toMatchObject({ kind: "error", error: { started: false } });
    const changed = { ...plugin, manifest: { ...plugin.manifest, name: "renamed" } };
    expect(await run(changed)).toEqual(
      error("unavailable", true, false, expect.stringContaining("its file now holds")),
    );
  });

  test("and one that never gets ready is given up", async () => {
    const impatient = testBench({ timing: { startMs: 300 } });
    const slow = impatient.plugin("action", "slow", `await new Promise(() => {});`);
    const slowPool = impatient.workers.actionPool({ idleMs: 1000 });
    const outcome = await slowPool.call(
      slow,
      { input: {}, key: "k", run: "r", step: "s", attempt: 1, timeoutMs: 5000, add: noAdditions },
      never,
    );
    expect(outcome).toEqual(
      error("unavailable", true, false, expect.stringContaining("did not answer load")),
    );
    await slowPool.stop();
    impatient.close();
  });

  test("describe says why", async () => {
    const syntax = bench.plugin("action", "syntax", `export default {;`);
    expect(bench.workers.describe(syntax.entry)).rejects.toThrow(/syntax\.ts: line 2/);
    expect((await bench.workers.describe(plugin.entry)).settings).toMatchObject({ required: ["do"] });
  });
});
