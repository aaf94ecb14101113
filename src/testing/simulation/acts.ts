import { faultOf, KINDS } from "./faults-drawn.ts";
import type { Lives } from "./lives.ts";
import {
  cancel,
  changeSetting,
  decide,
  emitByHand,
  jumpWall,
  lie,
  moveOutput,
  PERSON,
  retry,
  startByHand,
  withLetter,
} from "./person-acts.ts";
import {
  cancelLater,
  changeParameter,
  changeSecret,
  holdAnyKey,
  LATER_WRITES,
  lookAtKeys,
  MEMORY_WRITES,
  PARAMETER_WRITES,
  pauseOrResume,
  SECRET_WRITES,
  sweepMemory,
  writeKey,
} from "./shared-acts.ts";
import { brakeOrRelease, SILENCE_WRITES, silenceOrEnd } from "./quiet-acts.ts";
import type { World } from "./world.ts";

interface Act {
  weight: number;
  /** Writes that it leads to and few others do: faults at these want it more often. */
  leadsTo: string[];
  run: (world: World, lives: Lives) => void;
}

const YEAR_MS = 365 * 86_400_000;

/** What people, triggers, hosts, hubs and bad luck do. */
export const ACTS: Record<string, Act> = {
  tick: { weight: 45, leadsTo: [], run: (world) => world.tick() },
  wait: {
    weight: 4,
    leadsTo: ["memory.sweep", "later_runs.insert", "later_runs.end"],
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
  "hold a key": { weight: 5, leadsTo: MEMORY_WRITES, run: holdAnyKey },
  "sweep the memory": { weight: 1, leadsTo: ["memorySweep", "memory.sweep"], run: sweepMemory },
  "write a key": { weight: 2, leadsTo: MEMORY_WRITES, run: writeKey },
  "look at keys": { weight: 1, leadsTo: [], run: lookAtKeys },
  parameter: { weight: 2, leadsTo: PARAMETER_WRITES, run: changeParameter },
  secret: { weight: 2, leadsTo: SECRET_WRITES, run: changeSecret },
  pause: { weight: 2, leadsTo: [], run: pauseOrResume },
  "cancel what is put off": { weight: 2, leadsTo: LATER_WRITES, run: cancelLater },
  brake: { weight: 3, leadsTo: ["setSetting", "settings.put"], run: brakeOrRelease },
  silence: { weight: 1, leadsTo: SILENCE_WRITES, run: silenceOrEnd },
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
    leadsTo: ["rule_states.forget", "window_entries.forget", "definitions.trim", "keepTexts"],
    run: (_, lives) => lives.crash(),
  },
  stop: { weight: 1, leadsTo: ["ruleMemory"], run: (_, lives) => lives.stop() },
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
      jumpWall(world, world.random.pick([YEAR_MS, -YEAR_MS, 3_600_000, -60_000]));
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
