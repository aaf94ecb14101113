/** A thousand workers started and killed through the launcher: nothing of them stays. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { probeKernel } from "../../src/agent/workers/sandbox/probe.ts";
import { steady, until } from "../../src/testing/until.ts";
import { buildExecutable } from "../e2e/harness.ts";
import { type Confinement, confinement } from "./confined.ts";
import { familyOf } from "./family.ts";
import { adoptChannel } from "./run-attack.ts";
import { selfOf } from "./starter.ts";
import { World } from "./world.ts";

const STARTS = 1000;
/** As many at a time as an agent with work may have. */
const LANES = 4;

let world: World;
let confined: Confinement;
let leaves: string | undefined;

beforeAll(async () => {
  world = await World.open();
  const self = selfOf(await buildExecutable());
  const facts = await probeKernel(self.command);
  leaves = facts.cgroup.kind === "v2" ? join(facts.cgroup.folder, "workers") : undefined;
  confined = await confinement(self, facts, world.folder);
}, 240_000);

afterAll(async () => {
  await confined?.close();
  world?.close();
});

interface Counts {
  processes: number;
  descriptors: number;
  folders: number;
  mounts: number;
  leaves: number;
}

function counts(): Counts {
  return {
    processes: familyOf(process.pid).length,
    descriptors: readdirSync("/proc/self/fd").length,
    folders: readdirSync(join(world.folder, "workers")).length,
    mounts: readFileSync("/proc/self/mountinfo", "utf8").split("\n").length,
    leaves: leaves !== undefined && existsSync(leaves) ? readdirSync(leaves).length : 0,
  };
}

/** What is there when nothing comes or goes any more: descriptors of what has just ended are closed a moment later. */
async function settled(): Promise<Counts> {
  const sum = () => {
    Bun.gc(true);
    return Object.values(counts()).reduce((total: number, count: number) => total + count, 0);
  };
  await steady(sum, 500);
  return counts();
}

/** What there is more of than before. */
function surplus(before: Counts): string[] {
  Bun.gc(true);
  return Object.entries(counts())
    .filter(([what, count]) => count > before[what as keyof Counts])
    .map(([what, count]) => `${what}: ${count} instead of ${before[what as keyof Counts]}`);
}

/** Every second one is a script that starts a process of its own; kills come at every moment of a life. */
async function live(at: number, code: string): Promise<void> {
  const script = at % 2 === 0;
  const worker = await confined.start({
    kind: script ? "script" : "host",
    command: script ? ["/bin/sh", "-c", "sleep 60 & wait"] : [],
    code,
  });
  const outputs = [worker.stdout, worker.stderr].map((stream) => new Response(stream).text());
  await adoptChannel(worker);
  await Bun.sleep(at % 30);
  worker.kill();
  await Promise.all([worker.exited, ...outputs]);
}

test(`${STARTS} starts and kills leave nothing behind`, async () => {
  const code = world.codeFolder();
  // The first ones open what is then kept: a watcher, a pool.
  for (let at = 0; at < 10; at++) await live(at, code);
  const before = await settled();
  let next = 0;
  const lane = async () => {
    while (next < STARTS) await live(next++, code);
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  await until("everything to be gone", () => surplus(before).length === 0, 10_000).catch(() => {});
  expect(surplus(before)).toEqual([]);
}, 240_000);
