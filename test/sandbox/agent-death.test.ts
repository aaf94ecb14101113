/** The agent is killed while a worker spins: the worker goes with it. Without a sandbox it stays, so the test can fail. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { until } from "../../src/testing/until.ts";
import { World } from "./world.ts";

let world: World;
const workers: number[] = [];

beforeAll(async () => {
  world = await World.open();
});

afterAll(() => {
  for (const pid of workers) if (isAlive(pid)) process.kill(pid, "SIGKILL");
  world.close();
});

function isAlive(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat[stat.lastIndexOf(")") + 2] !== "Z";
}

/** A process that starts one spinning worker and tells its pid. */
async function agentWithSpinningWorker(how: "off" | "on") {
  const agent = Bun.spawn([process.execPath, join(import.meta.dir, "spinning-agent.ts"), how, world.folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const reader = agent.stdout.getReader();
  let said = "";
  while (!said.includes("\n")) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the agent ended before its worker was there");
    said += new TextDecoder().decode(value);
  }
  const worker = Number(said);
  workers.push(worker);
  return { agent, worker };
}

test("without a sandbox, a spinning worker outlives its agent", async () => {
  const { agent, worker } = await agentWithSpinningWorker("off");
  agent.kill("SIGKILL");
  await agent.exited;
  await Bun.sleep(1000);
  expect(isAlive(worker)).toBe(true);
}, 30_000);

test("a confined one ends with its agent", async () => {
  const { agent, worker } = await agentWithSpinningWorker("on");
  expect(isAlive(worker)).toBe(true);
  agent.kill("SIGKILL");
  await agent.exited;
  await until("the worker to be gone", () => !isAlive(worker));
}, 30_000);
