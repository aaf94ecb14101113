import { HoldfastError, messageOf } from "../../core/errors.ts";
import { hasEnded } from "../../model/run.ts";
import { KEYS, TYPES } from "./names.ts";
import type { World } from "./world.ts";

export const PERSON = { by: "local:1000", uid: 1000, note: "" };

/** Errors that are told are part of life; anything else is a fault of the engine. */
export function carried(world: World, what: string, work: Promise<unknown>): void {
  const { life } = world;
  work.then(
    () => life.dead || world.note(`${what}: done`),
    (error: unknown) => {
      if (life.dead) return;
      world.note(`${what}: ${messageOf(error)}`);
      if (!(error instanceof HoldfastError)) world.fail("errors are told", `${what}: ${messageOf(error)}`);
    },
  );
}

export function emitByHand(world: World): void {
  const { agent, random, life } = world;
  if (!agent || agent.stopping) return;
  const id = `hand-${world.counted()}`;
  const event = { id, type: random.pick(TYPES), data: { k: random.pick(KEYS), v: random.int(0, 9) } };
  world.say(`somebody emits ${id}`);
  const emitted = agent.recorder.record("manual", [event], undefined, world.lastEmit);
  world.lastEmit = emitted.catch(() => {});
  carried(
    world,
    `emit ${id}`,
    emitted.then(() => life.dead || world.emitted(id)),
  );
}

export function startByHand(world: World): void {
  const { agent, random, life, setting } = world;
  if (!agent) return;
  const pipeline = random.pick([...setting.pipelines.keys()]);
  const params = { k: random.pick(KEYS), v: random.int(0, 9) };
  world.say(`somebody starts ${pipeline}`);
  const started = agent.engine.start({ pipeline, params, by: PERSON.by });
  carried(
    world,
    `start of ${pipeline}`,
    started.then((id) => life.dead || world.started(id)),
  );
}

export function cancel(world: World): void {
  const { agent, random, life } = world;
  const open = world.openRuns();
  if (!agent || open.length === 0) return;
  const { id } = random.pick(open).row;
  world.say(`somebody cancels ${id}`);
  const cancelled = agent.engine.cancel(id, PERSON.by, "enough");
  carried(
    world,
    `cancel of ${id}`,
    cancelled.then(() => life.dead || world.cancelled(id)),
  );
}

export function decide(world: World, approve: boolean): void {
  const { agent, random, ledger } = world;
  const asking = agent?.engine.asking() ?? [];
  if (!agent || asking.length === 0) return;
  const { run, step } = random.pick(asking);
  world.say(`somebody says ${approve ? "yes" : "no"} to ${step} of ${run}`);
  // Whether it is an approval or an unknown outcome: allowed is what a yes could allow.
  if (approve) ledger.allow(`${run}/${step}`);
  carried(world, `decision on ${step} of ${run}`, agent.engine.decide(run, step, { ...PERSON, approve }));
}

export function retry(world: World): void {
  const { agent, random } = world;
  const ended = world.observedRuns().filter(({ row }) => hasEnded(row.state));
  if (!agent || ended.length === 0) return;
  const { id } = random.pick(ended).row;
  world.say(`somebody runs ${id} again`);
  carried(world, `retry of ${id}`, agent.engine.retry(id, PERSON.by));
}

export function withLetter(world: World, verb: string, work: (run: string) => Promise<void>): void {
  const letters = world.letters();
  if (!world.agent || letters.length === 0) return;
  const run = world.random.pick(letters);
  world.say(`somebody ${verb} the letter of ${run}`);
  carried(world, `${verb} the letter of ${run}`, work(run));
}

export function changeSetting(world: World): void {
  const { agent, life } = world;
  if (!agent) return;
  const value = world.counted();
  carried(
    world,
    "setting",
    agent.store.setSetting("simulated", value).then(() => life.dead || (world.kept.setting = value)),
  );
}

export function moveOutput(world: World): void {
  const { agent, life } = world;
  if (!agent) return;
  const move = async () => {
    const from = (await agent.store.outputCursor("simulated")) ?? 0;
    const read = await agent.store.eventsAfter(from, 5);
    const to = read.at(-1)?.n ?? from;
    await agent.store.setOutputCursor("simulated", to);
    if (!life.dead) world.kept.output = to;
  };
  carried(world, "output", move());
}

export function jumpWall({ clock, agent, schedules, say }: World, ms: number): void {
  say(`the wall clock jumps by ${ms} ms`);
  const from = clock.wall();
  clock.jumpWall(ms);
  if (agent && agent.triggers.length > 0) schedules.jumped(from, from + ms, clock.mono());
}

/** Over a due time that is just past then: it was missed all the same. */
export function jumpOverDue(world: World): void {
  const from = world.clock.wall();
  const dueMs = world.schedules.nextByCalendar(from + 600_000);
  if (dueMs !== null) jumpWall(world, dueMs + 20_000 - from);
}

/** A worker that was given up on answers all the same: under its old lease nothing may change any more. */
export function lie(world: World): void {
  const { agent, random, life } = world;
  const leased = world
    .observedRuns()
    .flatMap(({ row, steps }) => [...steps.values()].map((step) => ({ ...step, run: row.id })))
    .filter(({ fence, state }) => fence > 1 || (fence === 1 && state !== "running"));
  if (!agent || leased.length === 0) return;
  const { run, step, fence, state } = random.pick(leased);
  const old = state === "running" ? fence - 1 : random.int(Math.max(1, fence - 1), fence);
  world.say(`a late answer of ${step} of ${run} under the lease ${old}`);
  const late = agent.store.changeRun({
    runId: run,
    guards: [{ stepId: step, fence: old, state: "running" }],
    steps: [{ stepId: step, state: "succeeded", waits: null, output: "a lie" }],
    records: [],
  });
  carried(
    world,
    `late answer of ${step} of ${run}`,
    late.then((done) => {
      if (done && !life.dead) world.fail("fencing", `a late answer of ${step} of ${run} was taken`);
    }),
  );
}
