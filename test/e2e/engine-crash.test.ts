/**
 * The invariants of the engine on the compiled executable: 100 times kill -9 at random moments, while starting, at work
 * and while stopping, and then what the store says is compared with what the scripts told.
 */
import { beforeAll, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { killAtRandom, processesOf, randomOf, startEngine, untilQuiet } from "./engine-agent.ts";
import { EngineHome, type Kind, STARTING } from "./engine-home.ts";
import { breaches } from "./engine-invariants.ts";
import { readRows } from "./engine-rows.ts";
import { buildExecutable, temporaryHome } from "./harness.ts";

const KILLS = 100;
const LINES = 8;
const SEED = Number(process.env.HOLDFAST_SEED ?? 20261121);

let executable: string;
beforeAll(async () => {
  executable = await buildExecutable();
}, 240_000);

function linesOf(random: () => number): Kind[] {
  return Array.from({ length: LINES }, () => {
    const n = Math.floor(random() * 14);
    return STARTING[n] ?? (n < 10 ? "hit" : "calm");
  });
}

test(`nothing is lost, doubled or told wrongly over ${KILLS} kill -9 (seed ${SEED})`, async () => {
  const random = randomOf(SEED);
  const home = new EngineHome(temporaryHome());
  let ready = 0;
  for (let kill = 0; kill < KILLS; kill++) {
    home.write(linesOf(random));
    if (await killAtRandom(executable, home, random)) ready++;
  }
  const agent = await startEngine(executable, home);
  await untilQuiet(home, 300_000);
  expect(await agent.stop()).toBe(0);

  const rows = readRows(home.database);
  expect(breaches(home, rows)).toEqual([]);
  expect(processesOf(home)).toEqual([]);
  expect(readdirSync(join(home.root, "data", "state")).filter((name) => name.includes("corrupt"))).toEqual(
    [],
  );

  // It proves nothing unless attempts were really cut off, both of those that run again and of those that may not.
  const unknown = rows.attempts.filter((row) => row.state === "unknown").length;
  const uncertain = rows.steps.filter((row) => row.state === "uncertain").length;
  console.log(
    `${KILLS} kills, ${ready} after ready: ${rows.events.length} events, ${rows.runs.length} runs, ${rows.attempts.length} attempts, ${unknown} unknown, ${uncertain} steps uncertain`,
  );
  expect(unknown).toBeGreaterThanOrEqual(50);
  expect(uncertain).toBeGreaterThanOrEqual(20);
  expect(unknown - uncertain).toBeGreaterThanOrEqual(20);
  for (const pipeline of [...STARTING, "inner"])
    expect(rows.runs.some((run) => run.pipeline === pipeline)).toBe(true);
}, 600_000);
