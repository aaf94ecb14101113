import { rmSync } from "node:fs";
import { isRare } from "./aims.ts";
import { ACTS } from "./acts.ts";
import { FinalChecks } from "./final-checks.ts";
import { Lives } from "./lives.ts";
import { TRIGGERS } from "./names.ts";
import { decide, jumpOverDue } from "./person-acts.ts";
import { releaseForGood } from "./quiet-acts.ts";
import { crowdKeys } from "./shared-acts.ts";
import type { World } from "./world.ts";

const MOST_ACTS = 300;
const ACTS_IN_ALL = [100, 180, MOST_ACTS];
/** An act that a fault is waited for comes more often. */
const WANTED = 8;
/** Timers that fire after the last fault before it counts as going on for ever. */
const MAX_QUIET_STEPS = 20_000;

/** Everything that happens in a world, from the agent's first start to the last check. Leaves no files behind. */
export async function runWorld(world: World): Promise<void> {
  const lives = new Lives(world);
  try {
    lives.start();
    await lives.settle();
    await actAtRandom(world, lives);
    if (!world.story.violation) await becomeQuiet(world, lives);
    if (!world.story.violation) await new FinalChecks(world).all();
  } finally {
    if (!world.life.dead) lives.die();
    await lives.settle();
    world.observer?.close();
    rmSync(world.folder, { recursive: true, force: true });
  }
}

async function actAtRandom(world: World, lives: Lives): Promise<void> {
  const { random, wanted } = world;
  const weights = Object.entries(ACTS).map(([name, { weight, leadsTo }]): [string, number] => {
    return [name, wanted.some((label) => leadsTo.includes(label)) ? weight + WANTED : weight];
  });
  const all = weights.reduce((sum, [, weight]) => sum + weight, 0);
  const acts = wanted.some(isRare) ? MOST_ACTS : random.pick(ACTS_IN_ALL);
  for (let act = 0; act < acts && !world.story.violation; act++) {
    let drawn = random.next() * all;
    const [name] = weights.find(([, weight]) => (drawn -= weight) < 0)!;
    world.note(`act ${name}`);
    ACTS[name]!.run(world, lives);
    await lives.settle();
  }
}

/** No faults any more, everybody answers, the hub is there: everything must come to its end. */
async function becomeQuiet(world: World, lives: Lives): Promise<void> {
  const { line, clock } = world;
  world.say("no more faults");
  world.calm = true;
  line.up = true;
  line.reliable = true;
  line.cut?.();
  if (!world.life.dead) lives.die();
  const crowd = { begun: false, over: false };
  for (let step = 0; step < MAX_QUIET_STEPS && !world.story.violation; step++) {
    await lives.settle();
    for (const trigger of world.agent?.triggers ?? []) trigger.emit(10);
    decide(world, true);
    releaseForGood(world);
    if (!crowd.begun && hasBegun(world)) {
      crowd.begun = true;
      void crowdKeys(world).then(() => {
        crowd.over = true;
        jumpOverDue(world);
      });
    }
    if (crowd.over && (await isQuiet(world))) return;
    if (clock.nextIn() !== null) clock.runNext();
  }
  const open = world.openRuns().map(({ row, steps }) => {
    const states = [...steps.values()].map((step) => `${step.step} ${step.state}:${step.waits ?? ""}`);
    return `${row.id} ${row.state} (${states.join(", ")})`;
  });
  const waiting = ((await world.agent?.store.streams()) ?? [])
    .filter(({ last, acknowledged }) => last > acknowledged)
    .map(
      ({ lane, segment, last, acknowledged }) => `rows ${acknowledged + 1} to ${last} of ${lane}/${segment}`,
    );
  const still = [...open, ...waiting].join("; ");
  const what = `after ${MAX_QUIET_STEPS} steps without a fault there is still: ${still}`;
  world.fail("every run ends", what);
}

function hasBegun({ agent }: World): boolean {
  return agent !== null && agent.triggers.length === TRIGGERS.length;
}

async function isQuiet(world: World): Promise<boolean> {
  const { agent } = world;
  if (!agent || !hasBegun(world) || world.openRuns().length > 0) return false;
  if (!agent.shared.isQuiet()) return false;
  if (agent.triggers.some(({ behind }) => behind > 0)) return false;
  if (!(await agent.outputs.isQuiet())) return false;
  const streams = await agent.store.streams();
  return streams.every(({ last, acknowledged }) => last === acknowledged);
}
