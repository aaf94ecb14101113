import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { silentLogger } from "../../core/logger.ts";
import { bareGrant } from "../../model/grant.ts";
import { DEFAULT_RESOURCES, SYSTEM_PATHS } from "../../model/permissions.ts";
import { steady, until } from "../../testing/until.ts";
import { testKernel, testSelf } from "../../testing/worker-bench.ts";
import type { LaunchSpec } from "./launch.ts";
import { AHEAD_IDLE_MS, LaunchAhead } from "./launch-ahead.ts";
import { startStage } from "./launch-stage.ts";
import { openLauncher } from "./open-launcher.ts";
import { readStat } from "./limits/proc-stat.ts";
import { openKernel } from "./sandbox/libc.ts";
import { scriptPipeMaker } from "./scripts/script-pipes.ts";

setDefaultTimeout(60_000);

let opened: Awaited<ReturnType<typeof openLauncher>>;
let folder: string;

beforeAll(async () => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "holdfast-ahead-")));
  chmodSync(folder, 0o755);
  mkdirSync(join(folder, "workers"), { mode: 0o755 });
  opened = await openWorkers();
});

afterAll(async () => {
  await opened.close();
  rmSync(folder, { recursive: true, force: true });
});

async function openWorkers() {
  const kernel = await testKernel();
  const [clock, ids, log] = [systemClock(), systemIds(), silentLogger()];
  return await openLauncher({ kernel, workdir: join(folder, "workers"), clock, ids, log, self: testSelf() });
}

const close = (fd: number) => void openKernel().call("close", fd);
const isThere = (pid: number) => existsSync(`/proc/${pid}`);
const isRunning = (pid: number) => !["Z", undefined].includes(readStat(pid)?.state);
/** However busy the machine is. */
const soon = (what: string, condition: () => boolean) => until(what, condition, 30_000);
const descriptors = () => readdirSync("/proc/self/fd").length;

/** Runs a shell script to its end. */
async function run(script: string, change: Partial<LaunchSpec> = {}, by = opened) {
  const grant = { ...bareGrant(DEFAULT_RESOURCES), read: [SYSTEM_PATHS], exec: [SYSTEM_PATHS] };
  const worker = await by.launcher.launch({
    kind: "script",
    command: ["/bin/sh", "-c", script],
    grant,
    label: "ahead",
    code: [],
    env: { NAME: "value" },
    stdin: "ignore",
    ...change,
  });
  const [out, err, { verdict }] = await Promise.all([
    new Response(worker.stdout).text(),
    new Response(worker.stderr).text(),
    worker.exited,
  ]);
  close(worker.channelFd);
  if (worker.callFd !== null) close(worker.callFd);
  return { pid: worker.pid, said: out + err, verdict: verdict.text };
}

/** After a script: the one that waits for the next. */
async function waiting(by = opened): Promise<number> {
  await soon("a stage 1 waits", () => by.ahead.pid() !== undefined);
  return by.ahead.pid()!;
}

const LOOK =
  "pwd | sed s/-[^-]*$//; env | sort | grep -v -e ^HOME= -e ^TMPDIR= -e ^PWD=; grep -E '^(NoNewPrivs|Seccomp|Cap|Uid|Sig(Blk|Ign))' /proc/$$/status | sed 's/19[0-9]*/own/g'; ulimit -a; cat /root/x /etc/shadow";

test("the next script takes the one that waits, and is all that the first one was", async () => {
  const first = await run(LOOK);
  expect(first.said).toContain("Seccomp:\t2");
  const pid = await waiting();
  const second = await run(LOOK);
  expect(second.pid).toBe(pid);
  expect(second).toEqual({ ...first, pid });
  expect(await waiting()).not.toBe(pid);
});

test("it has the second channel if it asked for one, and only then", async () => {
  await run("true");
  const fds = async (calls: boolean) => {
    const pid = await waiting();
    const { pid: taken, said } = await run("exec ls /proc/self/fd", { calls });
    expect(taken).toBe(pid);
    return said.trim().split("\n");
  };
  // The last one is the folder that ls reads.
  expect(await fds(false)).toEqual(["0", "1", "2", "3", "4"]);
  expect(await fds(true)).toEqual(["0", "1", "2", "3", "4", "5"]);
  expect(await fds(false)).toEqual(["0", "1", "2", "3", "4"]);
});

test("input and a kill reach it", async () => {
  await run("true");
  const pid = await waiting();
  const spec: LaunchSpec = {
    kind: "script",
    command: ["/bin/sh", "-c", "cat; sleep 60"],
    grant: { ...bareGrant(DEFAULT_RESOURCES), read: [SYSTEM_PATHS], exec: [SYSTEM_PATHS] },
    label: "ahead",
    code: [],
    env: {},
    stdin: "pipe",
  };
  const worker = await opened.launcher.launch(spec);
  expect(worker.pid).toBe(pid);
  worker.stdin!.write("a line\n");
  await worker.stdin!.flush();
  const reader = worker.stdout.getReader();
  expect(new TextDecoder().decode((await reader.read()).value)).toBe("a line\n");
  worker.kill({ text: "enough" });
  expect((await worker.exited).verdict.text).toContain("enough");
  await reader.cancel();
  await worker.stderr.cancel();
  void worker.stdin!.end();
  close(worker.channelFd);
});

test("one that was killed while it waited costs the next script nothing", async () => {
  await run("true");
  const pid = await waiting();
  process.kill(pid, "SIGKILL");
  // All of its threads are gone, and nobody here could have noticed yet.
  while (isRunning(pid) || readdirSync(`/proc/${pid}/task`).length > 1) Bun.sleepSync(1);
  expect(opened.ahead.pid()).toBe(pid);
  expect(await run("echo ran")).toMatchObject({ said: "ran\n", verdict: "exited(0)" });
  process.kill(await waiting(), "SIGKILL");
  await soon("it is noticed", () => opened.ahead.pid() === undefined);
  expect(await run("echo ran")).toMatchObject({ said: "ran\n", verdict: "exited(0)" });
});

test("it ends after a while without scripts, and leaves no descriptor", async () => {
  const [self, pipes] = [testSelf(), scriptPipeMaker()];
  const start = (prefix: string[]) =>
    startStage({ self, prefix, workdir: folder, stdin: "ignore", pipes: pipes(), calls: true });
  const timers: { ms: number; go: () => void }[] = [];
  const clock = { after: (ms: number, go: () => void) => (timers.push({ ms, go }), () => {}) };
  // The other launcher's is there by now, and stays.
  await run("true");
  await waiting();
  const before = await steady(descriptors);
  const ahead = new LaunchAhead({ clock, start });
  ahead.prepare([]);
  timers.at(-1)!.go();
  const pid = ahead.pid()!;
  expect(isRunning(pid)).toBe(true);
  expect(ahead.take(["another prefix"], false)).toBeUndefined();
  // Another script ended: the same one goes on waiting.
  ahead.prepare([]);
  timers.at(-1)!.go();
  expect(ahead.pid()).toBe(pid);
  expect(timers.at(-1)!.ms).toBe(AHEAD_IDLE_MS);
  timers.at(-1)!.go();
  expect(ahead.pid()).toBeUndefined();
  await soon("it is gone", () => !isThere(pid));
  await soon("its descriptors are closed", () => descriptors() <= before);
});

test("many starts, kills and a close leave no process and no descriptor", async () => {
  const own = await openWorkers();
  await run("true", {}, own);
  await waiting(own);
  const before = await steady(descriptors);
  const pids = new Set<number>();
  for (let at = 0; at < 40; at++) {
    const { pid } = await run(at % 3 === 0 ? "kill -9 $$" : "true", { calls: at % 2 === 0 }, own);
    pids.add(pid);
    if (at % 4 === 0) pids.add(await waiting(own));
  }
  pids.add(await waiting(own));
  await soon("descriptors are as before", () => descriptors() <= before);
  await own.close();
  expect(own.ahead.pid()).toBeUndefined();
  await soon("all are gone", () => ![...pids].some(isThere));
  expect(readdirSync(join(folder, "workers"))).toEqual([]);
  // After the close nothing is started any more.
  own.ahead.prepare([]);
  await run("true", {}, own);
  await run("true", {}, own);
  expect(own.ahead.pid()).toBeUndefined();
});

test("it ends with an agent that is killed", async () => {
  const program = `
    import { systemClock } from "${import.meta.dir}/../../core/clock.ts";
    import { AHEAD_IDLE_MS, LaunchAhead } from "${import.meta.dir}/launch-ahead.ts";
    import { startStage } from "${import.meta.dir}/launch-stage.ts";
    import { scriptPipeMaker } from "${import.meta.dir}/scripts/script-pipes.ts";
    const [self, pipes] = [${JSON.stringify(testSelf())}, scriptPipeMaker()];
    const start = (prefix) =>
      startStage({ self, prefix, workdir: "${folder}", stdin: "ignore", pipes: pipes(), calls: true });
    const clock = systemClock();
    const ahead = new LaunchAhead({ clock, start });
    ahead.prepare([]);
    clock.after(50, () => console.log(ahead.pid()));
  `;
  const agent = Bun.spawn([process.execPath, "-e", program], { stdout: "pipe", stderr: "inherit" });
  const { value } = await agent.stdout.getReader().read();
  const pid = Number(new TextDecoder().decode(value!));
  expect(readStat(pid)?.ppid).toBe(agent.pid);
  agent.kill("SIGKILL");
  await agent.exited;
  await soon("it is gone", () => !isRunning(pid));
});
