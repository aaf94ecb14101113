import { carried, PERSON } from "./person-acts.ts";
import type { World } from "./world.ts";

/** Writes that silences lead to and nothing else does. */
export const SILENCE_WRITES = ["putSilence", "silences.put", "silences.trim"];

/** Somebody sets the brake, for a while or until it is released, or releases it. */
export function brakeOrRelease(world: World): void {
  const { agent, random, life, brake } = world;
  if (!agent || agent.stopping || !brake.begin(life.number)) return;
  if (random.chance(0.4)) return release(world);
  const forMs = random.chance(0.5) ? null : random.pick([1_000, 60_000]);
  const untilMs = forMs === null ? Infinity : life.trusted() + forMs;
  world.say(`somebody sets the brake${forMs === null ? "" : ` for ${forMs} ms`}`);
  const set = agent.shared.brake.on({ by: PERSON.by, reason: "", forMs });
  carried(
    world,
    "the brake",
    answered(world, set, () => brake.on(untilMs)),
  );
}

/** So that everything comes to its end. */
export function releaseForGood(world: World): void {
  const { agent, life, brake } = world;
  if (agent && !agent.stopping && !brake.isOff && brake.begin(life.number)) release(world);
}

function release(world: World): void {
  const { agent, brake } = world;
  world.say("somebody releases the brake");
  const released = agent!.shared.brake.off(PERSON.by);
  carried(
    world,
    "release of the brake",
    answered(world, released, () => brake.off()),
  );
}

async function answered(world: World, work: Promise<unknown>, done: () => void): Promise<void> {
  const { life, brake } = world;
  try {
    await work;
  } catch (error) {
    if (!life.dead) brake.failed();
    throw error;
  }
  if (!life.dead) done();
}

/** Somebody silences something, or ends what is silenced; what was answered is there in the next life. */
export function silenceOrEnd(world: World): void {
  const { agent, random, life, silenced } = world;
  if (!agent || agent.stopping) return;
  const { silences } = agent.shared;
  const holding = [...silenced].filter(([, { state }]) => state === "active").map(([id]) => id);
  if (holding.length > 0 && random.chance(0.5)) {
    const id = random.pick(holding);
    const told = silenced.get(id)!;
    told.state = "unknown";
    const end = async () => {
      await silences.end(id, PERSON.by);
      if (!life.dead) told.state = "ended";
    };
    return carried(world, `the end of silence ${id}`, end());
  }
  const match = [{ name: "rule", pattern: "nobody*" }];
  const asked = { match, mute: ["runs" as const], forMs: 365 * 86_400_000, comment: "c", by: PERSON.by };
  const add = async () => {
    const { id, untilMs } = await silences.add(asked);
    if (!life.dead) silenced.set(id, { state: "active", untilMs });
  };
  carried(world, "a silence", add());
}
