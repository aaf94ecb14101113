/** An agent of the compiled executable that is killed, looked at and waited for. */
import { readFileSync, statSync } from "node:fs";
import { type EngineHome, ID } from "./engine-home.ts";
import { count, withStore } from "./engine-rows.ts";
import { type Holdfast, startHoldfast, until } from "./harness.ts";

export function startEngine(executable: string, home: EngineHome): Promise<Holdfast> {
  return startHoldfast(executable, engineArguments(home));
}

export function engineArguments({ base }: EngineHome): string[] {
  return ["agent", "run", "--home", base, "--id", ID, "--health-listen", "127.0.0.1:0", "--json"];
}

/** A small seeded generator (mulberry32), uniform in [0, 1). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Starts the agent and kills it: at any moment of its start, right after scripts have begun, or while it stops. True when
 * it was ready by then.
 */
export async function killAtRandom(
  executable: string,
  home: EngineHome,
  random: () => number,
): Promise<boolean> {
  const how = random();
  const moment = random();
  if (how < 0.2) {
    const child = Bun.spawn([executable, ...engineArguments(home)], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
    });
    await Bun.sleep(moment * 200);
    child.kill("SIGKILL");
    await child.exited;
    return false;
  }
  const agent = await startEngine(executable, home);
  const before = statSync(home.journal).size;
  await until("a script begins", () => statSync(home.journal).size > before);
  await Bun.sleep(moment * 120);
  if (how > 0.9) {
    process.kill(agent.pid, "SIGTERM");
    await Bun.sleep(moment * 60);
  }
  await agent.kill();
  return true;
}

/** Every line is an event and every run has ended. */
export async function untilQuiet(home: EngineHome, timeoutMs = 120_000): Promise<void> {
  await until(
    "every line to be an event and every run to end",
    () =>
      withStore(home.database, (database) => {
        const lines = count(database, "events WHERE type = 'log.line'");
        return lines >= home.written.length && count(database, "runs WHERE open = 1") === 0;
      }),
    timeoutMs,
  );
}

/** Processes of this home that are still there. */
export function processesOf({ base }: EngineHome): number[] {
  const numbers = [...new Bun.Glob("[0-9]*").scanSync({ cwd: "/proc", onlyFiles: false })];
  return numbers.map(Number).filter((pid) => {
    try {
      const said =
        readFileSync(`/proc/${pid}/cmdline`, "utf8") + readFileSync(`/proc/${pid}/environ`, "utf8");
      return said.includes(base);
    } catch {
      return false;
    }
  });
}
