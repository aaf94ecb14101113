import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HoldfastError } from "../../../core/errors.ts";
import { systemIds } from "../../../core/ids.ts";
import { silentLogger } from "../../../core/logger.ts";
import type { Addition } from "../../../model/pipeline.ts";
import type { ScriptEntry } from "../../../model/plugin.ts";
import { type ScriptBench, scriptBench } from "../../../testing/script-bench.ts";
import { until } from "../../../testing/until.ts";
import { testBench } from "../../../testing/worker-bench.ts";
import { openHostAccess } from "../../host-access.ts";
import type { WorkerCall } from "../action-worker.ts";
import { ScriptAction } from "./script-action.ts";

setDefaultTimeout(60_000);

const ROOT = join(import.meta.dir, "../../../..");
/** The same tests run on the compiled executable when this names one. */
const HOLDFAST =
  process.env.HOLDFAST_TEST_EXECUTABLE ?? `"${process.execPath}" --no-install "${ROOT}/src/main.ts"`;

let bench: ScriptBench;
beforeEach(() => (bench = scriptBench()));
afterEach(() => bench.close());

/** Runs a script as an action with the agent's own side of `holdfast call`. */
async function run(text: string, add: WorkerCall["add"], entry: Partial<ScriptEntry> = { calls: true }) {
  const bin = join(bench.dir, "bin");
  mkdirSync(bin);
  writeFileSync(join(bin, "holdfast"), `#!/bin/sh\nexec ${HOLDFAST} "$@"\n`);
  chmodSync(join(bin, "holdfast"), 0o755);
  const host = agentSide();
  const fixture = bench.script("adds", text, { entry: { ...entry, env: { PATH: `${bin}:/usr/bin:/bin` } } });
  const action = new ScriptAction({ ...fixture, idleMs: 60_000 }, { ...bench.ports, calls: host.calls });
  const about = { input: {}, key: "r/s", run: "r", step: "s", attempt: 1, timeoutMs: 50_000 };
  const outcome = await action.call({ ...about, add }, new AbortController().signal);
  await action.stop();
  await host.close();
  return outcome;
}

function agentSide() {
  return openHostAccess({
    auditFile: join(bench.dir, "audit"),
    policy: () => ({ host: { operations: [] } }) as never,
    clock: bench.clock,
    ids: systemIds(),
    log: silentLogger(),
  });
}

test("the example in the manual adds what it says, in its order", async () => {
  const manual = readFileSync(join(ROOT, "docs/scripts.md"), "utf8");
  const example = /## Steps that a script adds[^]*?```sh\n([^]*?)```/.exec(manual)![1]!;
  const added: Addition[] = [];
  const outcome = await run(example, async (additions) => void added.push(...additions));
  expect(outcome).toEqual({ kind: "ok", output: { raw_output: "" } });
  expect(added).toEqual([
    { kind: "add", action: "restart-front", pipeline: false, with: { host: "web-01" } },
    { kind: "add", action: "restart-front", pipeline: false, with: { host: "web-02" } },
    { kind: "add", action: "check-front", pipeline: true, with: {} },
    { kind: "finally", action: "remove-folder", pipeline: false, with: { path: "/tmp/front" } },
    { kind: "onFailure", action: "tell-team", pipeline: false, with: { to: ["ops@example.org"], lines: 20 } },
    { kind: "spawn", action: "rebuild-index", pipeline: true, with: { index: "front" } },
    { kind: "later", action: "check-front", pipeline: true, with: {}, due: { inMs: 300_000 } },
  ]);
});

test("a refusal is told, with an exit code", async () => {
  const text = `#!/bin/sh
    holdfast call add nothing; echo $?
    holdfast call spawn; echo $?
    holdfast call finally tidy path; echo $?
    holdfast call host reboot; echo $?
    holdfast call log info "it goes on"; echo $?
  `;
  const outcome = await run(text, async () => {
    throw new HoldfastError("invalid", "there is no action nothing here to add");
  });
  expect(outcome).toMatchObject({ kind: "ok", output: { raw_output: "1\n2\n2\n4\n0\n" } });
  const log = bench.lines.map(({ message }) => String(message)).join("\n");
  expect(log).toContain("there is no action nothing here to add");
  expect(log).toContain('"path" is not NAME=VALUE');
  expect(log).toContain("it goes on");
});

test("a script whose manifest does not ask for it has no way to the agent", async () => {
  const text = '#!/bin/sh\nholdfast call add x || echo "$?, fd=$HOLDFAST_CALL_FD"\n';
  const outcome = await run(text, async () => {}, {});
  expect(outcome).toMatchObject({ kind: "ok", output: { raw_output: "2, fd=\n" } });
});

test("it works from inside the sandbox", async () => {
  const host = agentSide();
  const real = testBench({ calls: host.calls });
  const pool = real.workers.actionPool({ idleMs: 60_000 });
  const added: Addition[] = [];
  try {
    const text = "#!/bin/sh\nholdfast call spawn other a=1 && holdfast call finally last && echo done\n";
    const { plugin, script } = bench.script("inside", text, { entry: { calls: true } });
    chmodSync(bench.dir, 0o755);
    const about = { input: {}, key: "r/s", run: "r", step: "s", attempt: 1, timeoutMs: 50_000 };
    const add = async (additions: Addition[]) => void added.push(...additions);
    const call = { ...about, add };
    const outcome = await pool.call({ ...plugin, entry: { script } }, call, new AbortController().signal);
    expect(outcome).toEqual({ kind: "ok", output: { raw_output: "done\n" } });
    expect(added.map(({ kind, action }) => `${kind} ${action}`)).toEqual(["spawn other", "finally last"]);
  } finally {
    await pool.stop();
    await host.close();
    real.close();
  }
});

test.each(["once", "lines"] as const)(
  "a cancelled script that does not listen is settled when it and all its children are gone: mode %s",
  async (mode) => {
    const real = testBench({ timing: { cancelMs: 150 } });
    const pool = real.workers.actionPool({ idleMs: 60_000 });
    try {
      const file = join(real.dir, "pids");
      const text = `#!/bin/sh\ntrap "" TERM\nsleep 1000 &\na=$!\nsetsid sleep 1000 &\nread -r line\necho $$ $a $! > ${file}\nwhile :; do sleep 1; done\n`;
      const { plugin, script } = bench.script("deaf", text, { entry: { mode } });
      chmodSync(bench.dir, 0o755);
      const controller = new AbortController();
      const about = { input: {}, key: "r/s", run: "r", step: "s", attempt: 1, timeoutMs: 50_000 };
      const add = async () => {};
      const outcome = pool.call({ ...plugin, entry: { script } }, { ...about, add }, controller.signal);
      let early: unknown;
      void outcome.then((how) => (early = how));
      await until("the call", () => early !== undefined || pidsIn(file).length === 3, 20_000);
      expect(early).toBeUndefined();
      const pids = pidsIn(file);
      expect(pids.filter(alive)).toEqual(pids);
      controller.abort();
      expect(await outcome).toMatchObject({ kind: "unknown", error: { code: "cancelled", started: true } });
      expect(alive(pids[0]!)).toBe(false);
      // They were killed before; the kernel may need a moment to take them away.
      await until("the end of its children", () => !pids.some(alive), 20_000);
    } finally {
      await pool.stop();
      real.close();
    }
  },
);

function pidsIn(file: string): string[] {
  try {
    return readFileSync(file, "utf8").trim().split(" ").filter(Boolean);
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
