import { readFileSync } from "node:fs";
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Launcher } from "../src/agent/workers/launch.ts";
import { openLauncher } from "../src/agent/workers/open-launcher.ts";
import { probeKernel } from "../src/agent/workers/sandbox/probe.ts";
import type { ActionPool } from "../src/agent/workers/action-pool.ts";
import { createWorkers } from "../src/agent/workers/workers.ts";
import { systemClock } from "../src/core/clock.ts";
import { systemIds } from "../src/core/ids.ts";
import { silentLogger } from "../src/core/logger.ts";
import { NO_PERMISSIONS } from "../src/model/permissions.ts";
import type { CatalogPlugin } from "../src/model/plugin.ts";
import { noAdditions } from "../src/testing/no-additions.ts";
import { plainLauncher } from "../src/testing/plain-launcher.ts";
import { grantAlways } from "./confined.ts";
import { requireConfined, scriptStarts } from "./script-starts.ts";
import {
  type Bench,
  type BenchContext,
  type Figure,
  median,
  percentile,
  timed,
  withFolder,
} from "./frame.ts";
import { childrenOf, pssMb } from "./processes.ts";

const COLD_ROUNDS = 30;
const WARM_CALLS = 5_000;
const FLOOD_CALLS = 100_000;
const FLOOD_AT_ONCE = 256;
const IDLE_WORKERS = 10;

const ECHO = `import { defineAction, v } from "holdfast";
export default defineAction({
  name: "echo", description: "gives back what it got", settings: v.strictObject({ n: v.number() }),
  async run({ settings }) { return settings.n; },
});
`;
/** The other end of a raw channel: a process that sends back what it reads on fd 3. */
const RAW_ECHO = `Bun.connect({ fd: 3, socket: { data: (socket, chunk) => void socket.write(chunk) } });`;

export const bench: Bench = {
  about: "workers in the sandbox, cold and warm, beside the same without any",
  async run(context) {
    const kernel = await probeKernel([context.executable]);
    return await withFolder(async (folder) => {
      const workdir = join(folder, "workdir");
      await mkdir(workdir);
      // As in an agent's home: where that is root, a worker's own user gets there.
      for (const path of [context.folder, folder, workdir]) await chmod(path, 0o755);
      await writeFile(join(folder, "echo.ts"), ECHO);
      const clock = systemClock();
      const ids = systemIds();
      const log = silentLogger();
      const self = { command: [context.executable], code: [] };
      const open = () => openLauncher({ kernel, workdir, clock, ids, log, self });
      const [{ launcher, close }, alone] = [await open(), await open()];
      // From here on this one has nothing ready, as an agent before its first script.
      await alone.close();
      const plain = plainLauncher({ self, workdir, ids });
      try {
        await requireConfined(launcher);
        return [
          await coldAction(context, folder, launcher, plain),
          ...(await scriptStarts(context, launcher, alone.launcher)),
          ...(await warmCalls(context, folder, launcher)),
          await idleWorkers(folder, launcher),
        ];
      } finally {
        await close();
      }
    }, context.folder);
  },
};

function poolOver(launcher: Launcher, folder: string): { pool: ActionPool; plugin: CatalogPlugin } {
  const workers = createWorkers({
    clock: systemClock(),
    ids: systemIds(),
    log: silentLogger(),
    workdir: join(folder, "workdir"),
    pluginLog: () => ({ write() {} }),
    agent: { id: "bench-01", labels: {}, home: folder },
    launcher,
    grantFor: grantAlways,
  });
  const plugin: CatalogPlugin = {
    manifest: {
      kind: "action",
      name: "echo",
      description: "",
      settings: {},
      permissions: NO_PERMISSIONS,
      resources: {},
    },
    entry: { file: join(folder, "echo.ts") },
  };
  return { pool: workers.actionPool({ idleMs: 60_000 }), plugin };
}

const never = new AbortController().signal;
async function call(pool: ActionPool, plugin: CatalogPlugin, n: number): Promise<void> {
  const wanted = {
    input: { n },
    key: "k",
    run: "r",
    step: "s",
    attempt: 1,
    timeoutMs: 30_000,
    add: noAdditions,
  };
  const outcome = await pool.call(plugin, wanted, never);
  if (outcome.kind !== "ok") throw new Error(`the call failed: ${outcome.error.message}`);
}

async function coldAction(
  context: BenchContext,
  folder: string,
  confined: Launcher,
  plain: Launcher,
): Promise<Figure> {
  const times = { confined: [] as number[], plain: [] as number[] };
  for (let round = 0; round < COLD_ROUNDS; round++) {
    for (const [name, launcher] of [
      ["confined", confined],
      ["plain", plain],
    ] as const) {
      const { pool, plugin } = poolOver(launcher, folder);
      const from = performance.now();
      await call(pool, plugin, round);
      times[name].push(performance.now() - from);
      await pool.stop();
    }
  }
  context.progress(`${COLD_ROUNDS} cold starts of a TypeScript action`);
  return {
    name: "TypeScript action, cold, to its first result",
    value: median(times.confined),
    unit: "ms",
    baseline: { name: "the same host unconfined", value: median(times.plain) },
    goal: { kind: "ratio at most", value: 3 },
  };
}

async function warmCalls(context: BenchContext, folder: string, launcher: Launcher): Promise<Figure[]> {
  const { pool, plugin } = poolOver(launcher, folder);
  await call(pool, plugin, 0);
  const raw = await rawEcho(folder);
  const calls: number[] = [];
  const echoes: number[] = [];
  // By turns, so that both see the same machine.
  for (let n = 0; n < WARM_CALLS; n++) {
    calls.push(await timed(() => call(pool, plugin, n)));
    echoes.push(await timed(raw.echo));
  }
  await raw.stop();
  context.progress(`${WARM_CALLS} warm calls; now ${FLOOD_CALLS}, ${FLOOD_AT_ONCE} at once`);
  let next = 0;
  const lane = async () => {
    while (next < FLOOD_CALLS) await call(pool, plugin, next++);
  };
  const flood = await timed(() => Promise.all(Array.from({ length: FLOOD_AT_ONCE }, lane)));
  await pool.stop();
  return [
    {
      name: "warm call, median",
      value: percentile(calls, 0.5) * 1000,
      unit: "µs",
      baseline: { name: "raw echo on fd 3", value: percentile(echoes, 0.5) * 1000 },
      goal: { kind: "ratio at most", value: 3 },
    },
    {
      name: "calls through one worker",
      value: (FLOOD_CALLS / flood) * 1000,
      unit: "1/s",
      goal: { kind: "at least", value: 50_000 },
    },
  ];
}

/** A bare process that echoes what it gets, 100 bytes at a time. */
async function rawEcho(folder: string) {
  const file = join(folder, "raw-echo.ts");
  await writeFile(file, RAW_ECHO);
  const child = Bun.spawn([process.execPath, file], { stdio: ["ignore", "inherit", "inherit", "socket-fd"] });
  const message = Buffer.alloc(100, "x");
  let wake = () => {};
  let got = 0;
  const socket = await Bun.connect({
    fd: child.stdio[3],
    socket: {
      data(_socket: unknown, chunk: Buffer) {
        got += chunk.length;
        if (got >= message.length) wake();
      },
    },
  } as unknown as Bun.TCPSocketConnectOptions<undefined>);
  return {
    echo: () =>
      new Promise<void>((resolve) => {
        got = 0;
        wake = resolve;
        socket.write(message);
      }),
    async stop() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

async function idleWorkers(folder: string, launcher: Launcher): Promise<Figure> {
  const pools = Array.from({ length: IDLE_WORKERS }, () => poolOver(launcher, folder));
  for (const { pool, plugin } of pools) await call(pool, plugin, 1);
  const pids = childrenOf(process.pid).filter((pid) => commandOf(pid).includes("__host"));
  if (pids.length !== IDLE_WORKERS)
    throw new Error(`${IDLE_WORKERS} idle workers are ${pids.length} processes`);
  const each = pids.map(pssMb);
  await Promise.all(pools.map(({ pool }) => pool.stop()));
  return {
    name: `memory of an idle worker, ${IDLE_WORKERS} of them (PSS)`,
    value: each.reduce((sum, size) => sum + size, 0) / each.length,
    unit: "MB",
    goal: { kind: "at most", value: 10 },
  };
}

const commandOf = (pid: number): string => readFileSync(`/proc/${pid}/cmdline`, "utf8");
