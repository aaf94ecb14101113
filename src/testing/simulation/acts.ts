import { HoldfastError, messageOf } from "../../core/errors.ts";
import { hasEnded } from "../../model/run.ts";
import { faultOf, KINDS } from "./faults-drawn.ts";
import { KEYS, TYPES } from "./names.ts";
import type { World } from "./world.ts";

interface Act {
  weight: number;
  /** Writes that it leads to and few others do: faults at these want it more often. */
  leadsTo: string[];
  run: (world: World) => void;
}

const YEAR_MS = 365 * 86_400_000;
const PERSON = { by: "local:1000", uid: 1000, note: "" };

/** What people, triggers, hosts, hubs and bad luck do. */
export const ACTS: Record<string, Act> = {
  tick: { weight: 45, leadsTo: [], run: (world) => world.tick() },
  wait: {
    weight: 4,
    leadsTo: [],
    run: (world) => world.passes(world.random.pick([100, 5_000, 60_000])),
  },
  lines: {
    weight: 22,
    leadsTo: ["sources.insert", "checkpoints.put", "events.trim", "findings.trim", "window_entries.expire"],
    run: (world) => {
      const source = world.random.pick(world.sources);
      source.grow(world.random.int(1, 4));
      for (const trigger of world.agent?.triggers ?? []) trigger.emit(world.random.int(1, 5));
    },
  },
  emit: { weight: 3, leadsTo: ["sources.insert"], run: emitByHand },
  start: { weight: 8, leadsTo: ["startRuns"], run: startByHand },
  cancel: {
    weight: 4,
    leadsTo: ["runs.trim", "steps.trim", "attempts.trim", "definitions.trim"],
    run: cancel,
  },
  decide: { weight: 8, leadsTo: [], run: (world) => decide(world, world.random.chance(0.7)) },
  "retry a run": { weight: 2, leadsTo: ["startRuns"], run: retry },
  "retry a letter": {
    weight: 2,
    leadsTo: ["dropDeadLetter", "dead_letters.drop", "dead_letters.put"],
    run: (world) =>
      withLetter(world, "retries", async (run) => void (await world.agent!.engine.retryDead(run, PERSON.by))),
  },
  "edit a letter": {
    weight: 2,
    leadsTo: ["editDeadLetter", "dead_letters.edit"],
    run: (world) =>
      withLetter(world, "edits", async (run) => {
        await world.agent!.store.editDeadLetter(run, { k: "k1", v: 5 });
      }),
  },
  "drop a letter": {
    weight: 1,
    leadsTo: ["dropDeadLetter", "dead_letters.drop"],
    run: (world) =>
      withLetter(world, "drops", async (run) => void (await world.agent!.store.dropDeadLetter(run))),
  },
  setting: { weight: 1, leadsTo: ["setSetting", "settings.put"], run: changeSetting },
  output: { weight: 1, leadsTo: ["setOutputCursor", "output_cursors.put"], run: moveOutput },
  trim: {
    weight: 1,
    leadsTo: [
      "trim",
      "outbox.trim",
      "runs.trim",
      "steps.trim",
      "attempts.trim",
      "definitions.trim",
      "findings.trim",
      "dead_letters.trim",
    ],
    run: (world) => void world.agent?.store.trim(),
  },
  crash: {
    weight: 2,
    leadsTo: ["rule_states.forget", "window_entries.forget", "definitions.trim"],
    run: (world) => world.crash(),
  },
  stop: { weight: 1, leadsTo: ["ruleMemory"], run: (world) => world.stop() },
  fault: {
    weight: 6,
    leadsTo: [],
    run: ({ random, labels, order }) => {
      order(faultOf(random.pick(labels), random.pick(KINDS), random, random.int(0, 2)));
    },
  },
  "disk full": {
    weight: 1.5,
    leadsTo: ["probe", "meta.put"],
    run: ({ random, order }) => {
      order({ label: "commit", at: "before", with: "SQLITE_FULL", times: random.int(2, 10) });
    },
  },
  "slow disk": {
    weight: 1.5,
    leadsTo: [],
    run: (world) => {
      if (!world.agent) return;
      world.agent.disk.delayMs = world.agent.disk.delayMs > 0 ? 0 : world.random.pick([5, 100, 2_000]);
      world.say(`the disk takes ${world.agent.disk.delayMs} ms`);
    },
  },
  "wall jump": {
    weight: 1.5,
    leadsTo: [],
    run: (world) => {
      const ms = world.random.pick([YEAR_MS, -YEAR_MS, 3_600_000, -60_000]);
      world.say(`the wall clock jumps by ${ms} ms`);
      world.clock.jumpWall(ms);
    },
  },
  "hub away": {
    weight: 2,
    leadsTo: [],
    run: ({ line, say }) => {
      line.up = !line.up;
      say(line.up ? "the hub is back" : "the hub is away");
      if (!line.up) line.cut?.();
    },
  },
  "hub forks": {
    weight: 0.5,
    leadsTo: [
      "renewEpoch",
      "epochs.insert",
      "outbox.delete",
      "outbox.renumber",
      "streams.close",
      "streams.forget",
    ],
    run: ({ line, agent, random, say }) => {
      if (!agent) return;
      line.cut?.();
      if (line.hub.fork(agent.hub.epoch, random)) say("the hub's history is another one now");
    },
  },
  "hub restored": {
    weight: 1,
    leadsTo: [],
    run: ({ line, agent, random, say, setting }) => {
      // Rows that the agent has let go of would be lost for good, as they should be.
      if (!agent || setting.retention.acknowledgedRows !== undefined) return;
      line.cut?.();
      say(`the hub is restored, ${line.hub.restore(agent.hub.epoch, random)} rows ago`);
    },
  },
  lie: { weight: 3, leadsTo: [], run: lie },
};

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

function emitByHand(world: World): void {
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

function startByHand(world: World): void {
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

function cancel(world: World): void {
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

function retry(world: World): void {
  const { agent, random } = world;
  const ended = world.observedRuns().filter(({ row }) => hasEnded(row.state));
  if (!agent || ended.length === 0) return;
  const { id } = random.pick(ended).row;
  world.say(`somebody runs ${id} again`);
  carried(world, `retry of ${id}`, agent.engine.retry(id, PERSON.by));
}

function withLetter(world: World, verb: string, work: (run: string) => Promise<void>): void {
  const letters = world.letters();
  if (!world.agent || letters.length === 0) return;
  const run = world.random.pick(letters);
  world.say(`somebody ${verb} the letter of ${run}`);
  carried(world, `${verb} the letter of ${run}`, work(run));
}

function changeSetting(world: World): void {
  const { agent, life } = world;
  if (!agent) return;
  const value = world.counted();
  carried(
    world,
    "setting",
    agent.store.setSetting("simulated", value).then(() => life.dead || (world.kept.setting = value)),
  );
}

function moveOutput(world: World): void {
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

/** A worker that was given up on answers all the same: under its old lease nothing may change any more. */
function lie(world: World): void {
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
