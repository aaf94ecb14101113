import { afterEach, beforeEach, describe, expect, test, setDefaultTimeout } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../../../testing/until.ts";
import { Hostiles } from "./hostile-fixtures.ts";
import { killAll } from "./kill-all.ts";
import { readStat } from "./proc-stat.ts";

let hostiles: Hostiles;
beforeEach(() => (hostiles = new Hostiles()));
afterEach(() => hostiles.end());

/** Starts a grandchild in a session of its own, whose parent is gone, and writes its pid. */
const BREAK_AWAY = `
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() > 0: os._exit(0)
    if len(sys.argv) > 2: os.setresuid(*[int(sys.argv[2])] * 3)
    open(sys.argv[1] + ".new", "w").write(str(os.getpid()))
    os.rename(sys.argv[1] + ".new", sys.argv[1])
    time.sleep(60)
os.wait()
time.sleep(60)
`;

// Real processes on a machine that does other things too.
setDefaultTimeout(60_000);

const isRunning = (pid: number) => !["Z", undefined].includes(readStat(pid)?.state);

async function writtenPid(path: string): Promise<number> {
  await until("the pid is written", () => existsSync(path));
  return Number(readFileSync(path, "utf8"));
}

test("a group with its children ends at once", async () => {
  const child = hostiles.sh("sleep 60 & echo $! > pid.new; mv pid.new pid; wait");
  const inner = await writtenPid(join(hostiles.folder, "pid"));
  killAll(child.pid, null);
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  await until("the child is gone", () => !isRunning(inner));
});

test("a child in a session of its own is reached through its parents", async () => {
  const child = hostiles.sh("setsid sh -c 'echo $$ > pid.new; mv pid.new pid; sleep 60; :' & wait");
  const inner = await writtenPid(join(hostiles.folder, "pid"));
  expect(readStat(inner)!.session).not.toBe(child.pid);
  killAll(child.pid, null);
  await until("it is gone", () => !isRunning(inner));
});

test("a stopped worker dies too", async () => {
  const child = hostiles.run(["sleep", "60"]);
  process.kill(-child.pid, "SIGSTOP");
  await until("it is stopped", () => readStat(child.pid)?.state === "T");
  killAll(child.pid, null);
  await child.exited;
});

test("a worker that started nothing is killed without a look around", async () => {
  const child = hostiles.run(["sleep", "60"]);
  killAll(child.pid, null, { alone: true });
  await child.exited;
});

test("nobody is harmed when there is nobody", async () => {
  const child = hostiles.run(["true"]);
  await child.exited;
  killAll(child.pid, null);
  for (const pid of [0, 1, -1]) killAll(pid, null, { alone: true });
});

describe("one that left its session and lost its parents", () => {
  test("is known from an earlier look", async () => {
    const child = hostiles.python(BREAK_AWAY, "pid");
    const stray = await writtenPid(join(hostiles.folder, "pid"));
    expect(readStat(stray)!.ppid).not.toBe(child.pid);
    killAll(child.pid, null, { pids: [stray] });
    await until("it is gone", () => !isRunning(stray));
  });

  test.skipIf(process.getuid?.() !== 0)("is known by its user, also after the worker's end", async () => {
    const uid = 1_900_000_123;
    const child = hostiles.python(`import os\nos.chmod('.', 0o777)\n${BREAK_AWAY}`, "pid", String(uid));
    const stray = await writtenPid(join(hostiles.folder, "pid"));
    child.kill("SIGKILL");
    await child.exited;
    killAll(child.pid, null, {});
    expect(isRunning(stray)).toBe(true);
    killAll(child.pid, null, { uid });
    await until("it is gone", () => !isRunning(stray));
  });

  test("is known by its mount namespace, also after the worker's end", async () => {
    const own = hostiles.folder;
    const unshare = process.getuid?.() === 0 ? ["unshare", "-m"] : ["unshare", "-r", "-m"];
    if ((await hostiles.run([...unshare, "true"]).exited) !== 0) return;
    const enter = [...unshare, "sh", "-c", 'mount --bind "$0" "$0" && exec "$@"', own];
    const child = hostiles.run([...enter, "python3", "-c", BREAK_AWAY, "pid"]);
    const stray = await writtenPid(join(own, "pid"));
    child.kill("SIGKILL");
    await child.exited;
    const { started } = readStat(stray)!;
    // The mark is another's, and whoever has it is older than the worker.
    killAll(child.pid, null, { folder: join(own, "other") });
    killAll(child.pid, null, { folder: own, since: started + 1 });
    expect(isRunning(stray)).toBe(true);
    killAll(child.pid, null, { folder: own, since: started });
    await until("it is gone", () => !isRunning(stray));
  });
});
