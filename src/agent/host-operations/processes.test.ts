import { afterAll, afterEach, beforeAll, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../../testing/until.ts";
import { openKernelCalls } from "./kernel-calls.ts";
import { findProcesses, signalProcesses } from "./processes.ts";

const kernel = openKernelCalls();
/** Longer than what the kernel keeps of it (15), and of no other process here. */
const NAME = `hfsleeper-${process.pid}-long`;

let folder: string;
const started: Bun.Subprocess[] = [];
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-signal-"));
  copyFileSync(realSleep(), join(folder, NAME));
  copyFileSync(realSleep(), join(folder, "other"));
});
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(async () => {
  for (const child of started.splice(0)) {
    child.kill("SIGKILL");
    await child.exited;
  }
});

function realSleep(): string {
  return ["/usr/bin/sleep", "/bin/sleep"].find(existsSync)!;
}

async function start(argv: string[]): Promise<Bun.Subprocess> {
  const child = Bun.spawn(argv, { stdio: ["ignore", "ignore", "ignore"] });
  started.push(child);
  const comm = () => readFileSync(`/proc/${child.pid}/comm`, "utf8");
  // Between fork and exec it still has our name.
  await until("the program runs", () => comm() !== readFileSync("/proc/self/comm", "utf8"));
  return child;
}

test("a signal reaches every process of the program, and no other", async () => {
  const [one, two, other] = await Promise.all([
    start([join(folder, NAME), "60"]),
    start([join(folder, NAME), "60"]),
    start([join(folder, "other"), "60"]),
  ]);
  expect(signalProcesses(NAME, "USR1", [], kernel).sort()).toEqual([one.pid, two.pid].sort());
  await Promise.all([one.exited, two.exited]);
  expect([one.signalCode, two.signalCode]).toEqual(["SIGUSR1", "SIGUSR1"]);
  expect(other.killed || other.exitCode !== null).toBe(false);
});

test("the name alone is not enough: a process can give itself any", async () => {
  const script = `printf ${NAME.slice(0, 15)} > /proc/$$/comm; read line`;
  const child = Bun.spawn(["/bin/sh", "-c", script], { stdio: ["pipe", "ignore", "ignore"] });
  started.push(child);
  const comm = () => readFileSync(`/proc/${child.pid}/comm`, "utf8").trim();
  await until("it took the name", () => comm() === NAME.slice(0, 15));
  expect(findProcesses(NAME, [])).toEqual({ pids: [], spared: [] });
  expect(() => signalProcesses(NAME, "HUP", [], kernel)).toThrow(/no process of this host is named/);
});

test("an upgraded program's old processes are found", async () => {
  const path = join(folder, "replaced");
  copyFileSync(realSleep(), path);
  const child = await start([path, "60"]);
  rmSync(path);
  expect(findProcesses("replaced", []).pids).toEqual([child.pid]);
});

test("the agent and what it started get none, whatever they are named", async () => {
  const child = await start([join(folder, NAME), "60"]);
  expect(findProcesses(NAME, [process.pid])).toEqual({ pids: [], spared: [child.pid] });
  expect(() => signalProcesses(NAME, "KILL", [process.pid], kernel)).toThrow(/^denied: host signal:/);
  expect(child.exitCode ?? child.signalCode).toBeNull();
  // Our own executable, which the agent and every plugin host run.
  const self = readFileSync("/proc/self/comm", "utf8").trim();
  expect(findProcesses(self, []).pids).not.toContain(process.pid);
});

test("pid 1 gets none", () => {
  const comm = readFileSync("/proc/1/comm", "utf8").trim();
  expect(findProcesses(comm, []).pids).not.toContain(1);
});
