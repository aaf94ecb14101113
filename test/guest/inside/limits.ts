/**
 * Limits of an agent in a unit: three greedy plugins where the kernel's own controllers hold them, by delegated cgroups;
 * one where only the agent's watch does.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { run, until } from "./agents.ts";
import { type Checks, expectTrue } from "./checks.ts";
import { firstEvent, type GuestAgent, startAgent } from "./guest-agent.ts";

/** Plugin of each trigger. */
const GREEDY = { hog: "memory-hog", spin: "cpu-hog", forks: "fork-hog" } as const;
type Greedy = keyof typeof GREEDY;

const configuration = (greedy: Greedy[]) => `agent: { id: guest-01 }
triggers:
  - { name: tick, plugin: interval, with: { every: 1s } }
${greedy.map((name) => `  - { name: ${name}, plugin: ${GREEDY[name]} }\n`).join("")}outputs:
  - { name: all, plugin: file, with: { path: events.jsonl } }
`;
/** `processes` of fork-hog, and what a plugin host is granted for its threads. */
const MOST_FORKS = 20 + 64;
/** The second number of cpu.max. */
const PERIOD_MICROSECONDS = 100_000;

/** Where no group is delegated to the agent. */
export async function watchHolds(executable: string, checks: Checks): Promise<void> {
  await checks.check("unit: only the worker that takes memory is ended", async () => {
    const agent = await startGreedy(executable, ["hog"]);
    try {
      await endsOnlyTheHog(agent, ["tick"]);
    } finally {
      await agent.process.stop();
    }
  });
}

function startGreedy(executable: string, greedy: Greedy[]): Promise<GuestAgent> {
  const plugins = greedy.map((name) => GREEDY[name]);
  const config = configuration(greedy);
  return startAgent({ executable, role: "unit", name: "limits", plugins, config, lives: 2 });
}

export async function controllersHold(executable: string, checks: Checks): Promise<void> {
  let agent: GuestAgent | undefined;
  await checks.check("unit: an agent with greedy plugins starts", async () => {
    agent = await startGreedy(executable, ["hog", "spin", "forks"]);
  });
  if (agent === undefined) return;
  const running = agent;
  try {
    await checks.check("unit: cpu.max throttles the one that computes", () => throttles(running));
    await checks.check("unit: the one that forks is stopped", () => stopsForks(running));
    await checks.check("unit: memory.max ends only the worker that takes memory", () =>
      endsOnlyTheHog(running, ["tick", "spin", "forks"]),
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

/** The leaf whose limit is this; one that goes meanwhile is another's. */
function leafWith(agent: GuestAgent, file: string, limit: string): string {
  const limits = new Map<string, string>();
  for (const leaf of leaves(agent)) {
    const path = join(leaf, file);
    if (existsSync(path)) limits.set(readFileSync(path, "utf8").trim(), leaf);
  }
  const found = limits.get(limit);
  if (found === undefined) throw new Error(`no leaf has ${file} ${limit}: ${[...limits.keys()].join(" | ")}`);
  return found;
}

async function throttles(agent: GuestAgent): Promise<void> {
  await firstEvent(agent, "spin.began", "cpu-hog");
  const leaf = leafWith(agent, "cpu.max", `${PERIOD_MICROSECONDS / 5} ${PERIOD_MICROSECONDS}`);
  const stat = (key: string) => count(leaf, "cpu.stat", key);
  await until("throttled periods", () => stat("nr_throttled") > 10);
  // By the periods that the kernel counted: a machine that is busy elsewhere stretches them, and not the share. What one
  // got over the share is taken back in those after it.
  const before = { used: stat("usage_usec"), periods: stat("nr_periods") };
  const share = () =>
    (stat("usage_usec") - before.used) / ((stat("nr_periods") - before.periods) * PERIOD_MICROSECONDS);
  await until("thirty periods", () => stat("nr_periods") >= before.periods + 30);
  await until("its use to be a fifth of a core", () => share() < 0.25).catch((error: Error) => {
    throw new Error(`${error.message}: it got ${share().toFixed(3)}`);
  });
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
    os.waitpid(pid, 0)
print(len(started))
`;

/** The worker is stopped by its user's limit of the same number, which root has not. */
function pidsHoldRoot(agent: GuestAgent): void {
  const leaf = leafWith(agent, "pids.max", String(MOST_FORKS));
  const { out, err } = run(["python3", "-c", FORKS_AS_ROOT, leaf]);
  const started = Number(out);
  expectTrue(`${started} processes could be started ${err}`, started > 0 && started < MOST_FORKS);
  expectTrue("the controller has counted it", count(leaf, "pids.events", "max") > 0);
}

async function endsOnlyTheHog(agent: GuestAgent, others: string[]): Promise<void> {
  const part = (name: string) =>
    (agent.status().parts as { name: string; state: string; restarts: number; reason?: string }[]).find(
      (each) => each.name === name,
    )!;
  await until("the hog to be ended for its memory", () => /memory/.test(part("hog").reason ?? ""));
  const ticks = agent.events("interval.tick").length;
  await until("three more ticks", () => agent.events("interval.tick").length >= ticks + 3);
  for (const name of others) {
    const { state, restarts, reason } = part(name);
    const told = `${name} runs on: ${state}, ${restarts} restarts, ${reason}\n${agent.pluginLog(GREEDY[name as Greedy] ?? "interval")}`;
    // While the processes of `forks` are at their limit, its own host may need a thread, and then aborts.
    const own = name === "forks" && !/memory/.test(reason ?? "");
    expectTrue(told, state === "running" && (restarts === 0 || own));
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
