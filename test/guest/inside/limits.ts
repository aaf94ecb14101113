/** Limits where the kernel's own controllers hold them: an agent in a unit with delegated cgroups, and three greedy plugins. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { run, until } from "./agents.ts";
import { type Checks, expectTrue } from "./checks.ts";
import { firstEvent, type GuestAgent, startAgent } from "./guest-agent.ts";

const CONFIGURATION = `agent: { id: guest-01 }
triggers:
  - { name: tick, plugin: interval, with: { every: 1s } }
  - { name: hog, plugin: memory-hog }
  - { name: spin, plugin: cpu-hog }
  - { name: forks, plugin: fork-hog }
outputs:
  - { name: all, plugin: file, with: { path: events.jsonl } }
`;
/** `processes` of fork-hog, and what a plugin host is granted for its threads. */
const MOST_FORKS = 20 + 64;

export async function limitsHold(executable: string, checks: Checks): Promise<void> {
  let agent: GuestAgent | undefined;
  await checks.check("unit: an agent with greedy plugins starts", async () => {
    agent = await startAgent({
      executable,
      role: "unit",
      name: "limits",
      plugins: ["memory-hog", "cpu-hog", "fork-hog"],
      config: CONFIGURATION,
      lives: 2,
    });
  });
  if (agent === undefined) return;
  const running = agent;
  try {
    await checks.check("unit: cpu.max throttles the one that computes", () => throttles(running));
    await checks.check("unit: the one that forks is stopped", () => stopsForks(running));
    await checks.check("unit: memory.max ends only the worker that takes memory", () =>
      endsOnlyTheHog(running),
    );
    await checks.check("unit: pids.max holds whoever forks", () => pidsHoldRoot(running));
    await checks.check("unit: after kill -9 of the agent no leaf of before is left", () =>
      removesLeaves(running),
    );
  } finally {
    await running.process.stop();
  }
}

/** The folder of the workers' leaves, beside the agent's own group. */
function workersFolder(pid: number): string {
  const path = /^0::(.+)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))![1]!;
  return join("/sys/fs/cgroup", dirname(path), "workers");
}

function leaves(agent: GuestAgent): string[] {
  const folder = workersFolder(agent.status().pid);
  if (!existsSync(folder)) throw new Error(`there is no ${folder}`);
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(folder, entry.name));
}

const count = (leaf: string, file: string, key: string) =>
  Number(new RegExp(`^${key} (\\d+)$`, "m").exec(readFileSync(join(leaf, file), "utf8"))?.[1] ?? 0);

async function throttles(agent: GuestAgent): Promise<void> {
  await firstEvent(agent, "spin.began", "cpu-hog");
  const quota = (leaf: string) => readFileSync(join(leaf, "cpu.max"), "utf8").trim().split(" ").map(Number);
  const leaf = leaves(agent).find((each) => {
    const [most, period] = quota(each);
    return Math.abs(most! / period! - 0.2) < 0.01;
  });
  if (leaf === undefined)
    throw new Error(`no leaf has a fifth of a core: ${leaves(agent).map(quota).join(" | ")}`);
  await until("throttled periods", () => count(leaf, "cpu.stat", "nr_throttled") > 10, 180_000);
  const used = () => count(leaf, "cpu.stat", "usage_usec");
  const before = used();
  const began = performance.now();
  await Bun.sleep(5_000);
  const share = (used() - before) / 1000 / (performance.now() - began);
  expectTrue(`it got ${share.toFixed(3)} of a core, granted 0.2`, share > 0.1 && share < 0.25);
}

async function stopsForks(agent: GuestAgent): Promise<void> {
  const { started } = await firstEvent(agent, "forks.counted", "fork-hog");
  expectTrue(`it started ${started} processes, of 300 that it wanted`, started > 0 && started <= MOST_FORKS);
}

/** Goes into the group that is its argument, and starts processes there until the kernel says no. */
const FORKS_AS_ROOT = `
import os, signal, sys
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
started = []
try:
    while len(started) < 300:
        pid = os.fork()
        if pid == 0:
            signal.pause()
        started.append(pid)
except OSError:
    pass
for pid in started:
    os.kill(pid, signal.SIGKILL)
print(len(started))
`;

/** The worker is stopped by its user's limit of the same number, which root has not. */
function pidsHoldRoot(agent: GuestAgent): void {
  const most = (leaf: string) => {
    const file = join(leaf, "pids.max");
    return existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
  };
  const leaf = leaves(agent).find((each) => most(each) === MOST_FORKS);
  if (leaf === undefined) throw new Error(`no leaf allows ${MOST_FORKS} processes`);
  const { out, err } = run(["python3", "-c", FORKS_AS_ROOT, leaf]);
  const started = Number(out);
  expectTrue(`${started} processes could be started ${err}`, started > 0 && started < MOST_FORKS);
  expectTrue("the controller has counted it", count(leaf, "pids.events", "max") > 0);
}

async function endsOnlyTheHog(agent: GuestAgent): Promise<void> {
  const part = (name: string) =>
    (agent.status().parts as { name: string; state: string; restarts: number; reason?: string }[]).find(
      (each) => each.name === name,
    )!;
  await until("the hog to be ended for its memory", () => /memory/.test(part("hog").reason ?? ""), 180_000);
  const ticks = agent.events("interval.tick").length;
  await until("three more ticks", () => agent.events("interval.tick").length >= ticks + 3);
  for (const name of ["tick", "spin", "forks"]) {
    const { state, restarts, reason } = part(name);
    expectTrue(
      `${name} runs on: ${state}, ${restarts} restarts, ${reason}`,
      state === "running" && restarts === 0,
    );
  }
}

async function removesLeaves(agent: GuestAgent): Promise<void> {
  const before = new Set(leaves(agent));
  const { pid } = agent.status() as { pid: number };
  process.kill(pid, "SIGKILL");
  await until("the agent's second life", () => {
    try {
      return agent.status().pid !== pid && agent.status().phase === "running";
    } catch {
      return false;
    }
  });
  const ticks = agent.events("interval.tick").length;
  await until("ticks again", () => agent.events("interval.tick").length > ticks);
  const stayed = leaves(agent).filter((leaf) => before.has(leaf));
  expectTrue(`left over: ${stayed.join(", ")}`, stayed.length === 0);
}
