import { EMIT_WINDOW } from "./emit-limits.ts";
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HoldfastError } from "../../core/errors.ts";
import type { ProposedEvent } from "../../model/event.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type { CatalogPlugin } from "../../model/plugin.ts";
import { steady, until } from "../../testing/until.ts";
import { type TestBench, testBench } from "../../testing/worker-bench.ts";
import { removeLeftovers } from "./own-folder.ts";

let bench: TestBench;
let plugin: CatalogPlugin;
beforeAll(() => {
  bench = testBench({
    timing: { drainMs: 400, pingMs: 100, backoff: { kind: "exponential", initialMs: 20, maxMs: 100 } },
  });
  plugin = bench.plugin(
    "trigger",
    "counter",
    `import { existsSync, writeFileSync } from "node:fs";
    export default defineTrigger({
      name: "counter", description: "counts",
      settings: v.strictObject({ to: v.number(), batch: v.optional(v.number(), 1), then: v.optional(v.string(), "end"), mark: v.optional(v.string()) }),
      async *run({ settings: { to, batch, then, mark }, checkpoint, signal, clock }) {
        let n = checkpoint?.n ?? 0;
        try {
          while (n < to) {
            const events = [];
            for (let i = 0; i < batch && n < to; i++) events.push({ type: "count", id: String(++n), data: { n } });
            yield batch === 1 ? events[0] : { events, checkpoint: { n } };
            globalThis.yielded = n;
          }
          if (then === "die" || then === "spin") await clock.sleep(20);
          if (then === "wait") await clock.sleep(1e9, signal);
          if (then === "stuck") await new Promise(() => {});
          if (then === "spin") for (;;) {}
          if (then === "throw") throw new Error("had enough");
          if (then === "die") process.kill(process.pid, "SIGKILL");
          if (then === "invalid") yield { type: "not valid" };
          if (then === "huge") yield { type: "huge", data: "x".repeat(9_000_000) };
        } finally {
          if (mark) writeFileSync(mark, "finally");
        }
      },
    });`,
  );
});
afterAll(() => bench.close());

/** What a store would hold, with a handler that can be slowed down or made to refuse. */
function keeper(handler: (events: ProposedEvent[]) => Promise<void> = async () => {}) {
  const kept: { ids: number[]; checkpoints: number[]; checkpoint: Json | undefined; calls: number } = {
    ids: [],
    checkpoints: [],
    checkpoint: undefined,
    calls: 0,
  };
  const supervise = (settings: JsonObject) =>
    bench.workers.superviseTrigger({
      name: "numbers",
      plugin,
      settings,
      checkpoint: async () => kept.checkpoint,
      async onEvents(events, checkpoint, turn) {
        kept.calls++;
        await handler(events);
        // As the contract says: never before the batch ahead, and not at all when that was refused.
        await turn;
        for (const event of events) kept.ids.push(Number(event.id));
        if (checkpoint === undefined) return;
        kept.checkpoint = checkpoint;
        kept.checkpoints.push((checkpoint as { n: number }).n);
      },
    });
  return { kept, supervise };
}
const upTo = (n: number) => Array.from({ length: n }, (_, at) => at + 1);

describe("a restart that is wanted", () => {
  test("goes on from the last checkpoint, and is no crash", async () => {
    const { kept, supervise } = keeper();
    const trigger = supervise({ to: 500, batch: 10, then: "wait" });
    await until("all", () => kept.ids.length === 500 && trigger.status().state === "running");
    expect(trigger.memoryBytes()).toBeGreaterThan(1024 ** 2);
    // Far more often than crashes would be allowed.
    for (let n = 1; n <= 7; n++) {
      expect(trigger.restart("its memory is wanted")).toBe(true);
      expect(trigger.restart("twice")).toBe(false);
      await until("it runs again", () => {
        const { state, restarts } = trigger.status();
        return state === "running" && restarts === n;
      });
    }
    expect(trigger.status().reason).toBe("its memory is wanted");
    expect(kept.ids).toEqual(upTo(500));
    await trigger.stop();
    expect(trigger.restart("too late")).toBe(false);
    expect(trigger.memoryBytes()).toBe(0);
    expect(readdirSync(bench.workdir)).toEqual([]);
  }, 30_000);
});

describe("events", () => {
  test("200,000 arrive once and in order, each checkpoint with the events before it", async () => {
    const { kept, supervise } = keeper(async () => {
      const last = kept.checkpoints.at(-1);
      if (last !== undefined && last !== kept.ids.at(-1)) throw new Error("a checkpoint ahead of its events");
    });
    const trigger = supervise({ to: 200_000, batch: 100 });
    await until("the end", () => trigger.status().state === "stopped", 20_000);
    expect(kept.ids).toEqual(upTo(200_000));
    expect(kept.checkpoint).toEqual({ n: 200_000 });
    expect(kept.checkpoints).toEqual([...kept.checkpoints].sort((a, b) => a - b));
    await trigger.stop();
    expect(readdirSync(bench.workdir)).toEqual([]);
  }, 30_000);

  test("yielded one by one are gathered; a lone one does not wait for company", async () => {
    const { kept, supervise } = keeper();
    const trigger = supervise({ to: 1001, then: "wait" });
    await until("all", () => kept.ids.length === 1001);
    expect(kept.calls).toBeLessThan(20);
    expect(trigger.status()).toMatchObject({
      name: "numbers",
      plugin: "counter",
      kind: "trigger",
      state: "running",
      restarts: 0,
    });
    await trigger.stop();
    expect(trigger.status().state).toBe("stopped");
  });

  test("are not asked for beyond the window while nothing is committed", async () => {
    const gate = Promise.withResolvers<void>();
    let produced = 0;
    const { kept, supervise } = keeper(() => gate.promise);
    const file = join(bench.dir, "produced");
    const source = `import { writeFileSync } from "node:fs";
      export default defineTrigger({ name: "counter", description: "", settings: v.strictObject({ file: v.string() }),
        async *run({ settings }) { for (let n = 1; n <= 100_000; n++) { writeFileSync(settings.file, String(n)); yield { type: "t", id: String(n) }; } } });`;
    const own = plugin;
    plugin = bench.plugin("trigger", "greedy", source);
    plugin.manifest.name = "counter";
    const trigger = supervise({ file });
    plugin = own;
    await until("the first", () => kept.calls > 0);
    produced = await steady(() => (existsSync(file) ? Number(readFileSync(file, "utf8")) : 0));
    // A window of frames of 256, and the one that is asked for but not taken.
    expect(produced).toBeGreaterThanOrEqual(EMIT_WINDOW * 256);
    expect(produced).toBeLessThanOrEqual(EMIT_WINDOW * 256 + 1);
    gate.resolve();
    await until("the rest", () => kept.ids.length === 100_000, 20_000);
    await trigger.stop();
  }, 30_000);
});

describe("a trigger that ends badly starts again from its last committed checkpoint", () => {
  test.each([
    ["throw", "had enough"],
    ["die", "crashed(SIGKILL)"],
    ["invalid", "an invalid event: `type`"],
    ["huge", "an emit of more than"],
    ["spin", "pings unanswered"],
  ])(
    "%s",
    async (then, reason) => {
      const { kept, supervise } = keeper();
      const trigger = supervise({ to: 20, batch: 10, then });
      await until("a restart", () => trigger.status().restarts >= 1, 10_000);
      expect(trigger.status().reason).toContain(reason);
      expect(kept.ids).toEqual(upTo(20));
      await trigger.stop();
    },
    15_000,
  );

  test("five times within a minute: quarantine, until it is reset", async () => {
    const { kept, supervise } = keeper();
    const trigger = supervise({ to: 3, then: "throw" });
    await until("quarantine", () => trigger.status().state === "quarantined", 15_000);
    expect(trigger.status()).toMatchObject({ restarts: 4, reason: expect.stringContaining("had enough") });
    expect(kept.ids).toHaveLength(15);
    trigger.reset();
    await until("again", () => kept.ids.length === 18);
    await trigger.stop();
  }, 20_000);
});

describe("a refused emit", () => {
  test("ends this life, and nothing after it is kept before it is", async () => {
    let refusals = 2;
    const { kept, supervise } = keeper(async (events) => {
      if (refusals > 0 && events.some((event) => event.id === "5000")) {
        refusals--;
        throw new Error("disk full");
      }
    });
    const trigger = supervise({ to: 20_000, batch: 50 });
    await until("the end", () => trigger.status().state === "stopped", 15_000);
    expect(kept.ids).toEqual(upTo(20_000));
    expect(trigger.status().restarts).toBe(2);
    await trigger.stop();
  }, 20_000);

  test("leads to quarantine when the event itself cannot be kept, and never when the store is at fault", async () => {
    const code = { current: "busy" as "busy" | "too_large" };
    const { supervise } = keeper(async () => {
      throw new HoldfastError(code.current, "refused by the store");
    });
    const trigger = supervise({ to: 3 });
    await until("three restarts", () => trigger.status().restarts >= 3, 10_000);
    expect(trigger.status().reason).toBe("an emit was refused: refused by the store");
    await trigger.stop();
    code.current = "too_large";
    const faulty = supervise({ to: 3 });
    await until("quarantine", () => faulty.status().state === "quarantined", 15_000);
    await faulty.stop();
  }, 30_000);
});

describe("stop", () => {
  test("lets the plugin clean up", async () => {
    const mark = join(bench.dir, "mark");
    const { kept, supervise } = keeper();
    const trigger = supervise({ to: 1, then: "wait", mark });
    await until("started", () => kept.ids.length === 1);
    await trigger.stop();
    expect(existsSync(mark)).toBe(true);
  });

  test("does not wait for ever for one that does not end, nor for a store that does not answer", async () => {
    const { kept, supervise } = keeper(() => new Promise(() => {}));
    const trigger = supervise({ to: 1, then: "stuck" });
    await until("started", () => kept.calls === 1);
    const from = performance.now();
    await trigger.stop();
    expect(performance.now() - from).toBeLessThan(3000);
    expect(readdirSync(bench.workdir)).toEqual([]);
  });

  test("while it starts, or waits to start again", async () => {
    const { supervise } = keeper();
    await supervise({ to: 1 }).stop();
    const failing = supervise({ to: 1, then: "throw" });
    await until("failed", () => failing.status().state === "failed");
    await failing.stop();
    expect(failing.status().state).toBe("stopped");
    expect(readdirSync(bench.workdir)).toEqual([]);
  });
});

test("when the agent dies its workers go with it, also one that spins", async () => {
  const script = join(bench.dir, "agent.ts");
  const left = join(bench.dir, "orphans");
  const own = (file: string) => JSON.stringify(new URL(file, import.meta.url).pathname);
  writeFileSync(
    script,
    `import { createWorkers } from ${own("./workers.ts")};
    import { systemClock } from ${own("../../core/clock.ts")};
    import { systemIds } from ${own("../../core/ids.ts")};
    import { silentLogger } from ${own("../../core/logger.ts")};
    import { testGrant, testLauncher } from ${own("../../testing/worker-bench.ts")};
    const workdir = ${JSON.stringify(left)};
    const workers = createWorkers({ clock: systemClock(), ids: systemIds(), log: silentLogger(), workdir,
      launcher: testLauncher({ workdir }), grantFor: testGrant(${JSON.stringify(bench.dir)}),
      pluginLog: () => ({ write() {} }), agent: { id: "a-1", labels: {}, home: "/" } });
    workers.superviseTrigger({ name: "n", plugin: ${JSON.stringify(plugin)}, settings: { to: 1, then: "spin" },
      checkpoint: async () => undefined, onEvents: async () => { console.log("event"); } });`,
  );
  const agent = Bun.spawn([process.execPath, script], { stdout: "pipe", stderr: "inherit" });
  const reader = agent.stdout.getReader();
  expect(Buffer.from((await reader.read()).value!).toString()).toBe("event\n");
  expect(processesIn(left)).toHaveLength(1);
  agent.kill("SIGKILL");
  await until("no worker is left", () => processesIn(left).length === 0, 5000);
  expect(readdirSync(left)).toHaveLength(1);
  await removeLeftovers(left);
  expect(readdirSync(left)).toEqual([]);
});

/** Processes whose working folder lies in this one. */
function processesIn(folder: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/cwd`).startsWith(folder);
    } catch {
      return false;
    }
  });
}
