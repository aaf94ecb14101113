import { HoldfastError } from "../../core/errors.ts";
import type { Json } from "../../model/json.ts";
import { CONTESTED, COUNTED, HIDDEN, PLAIN, SECRETS } from "./shared-ledger.ts";
import type { KeptValue } from "./kept-values.ts";
import { carried, PERSON } from "./person-acts.ts";
import type { World } from "./world.ts";

/** Writes that each kind of act leads to. */
export const MEMORY_WRITES = [
  ...["memory.delete", "memory.put", "memory.sweep", "memoryCheckIn", "memoryCheckOut", "memoryDelete"],
  ...["memoryPut", "memorySweep", "memory_checkouts.delete", "memory_checkouts.put"],
];
export const PARAMETER_WRITES = ["parameters.delete", "parameters.put", "removeParameter", "setParameter"];
export const SECRET_WRITES = [
  ...["putSecrets", "removeSecret", "secret_keys.drop", "secret_keys.put", "secrets.delete", "secrets.put"],
];
export const LATER_WRITES = ["endLater", "later_runs.end", "later_runs.trim"];

const NAMESPACE = "default";
const WAITS = [0, 1_000, 30_000];
const HOLDS = [0, 0, 100, 1_500, 5_000, 20_000];

export function holdAnyKey(world: World): void {
  void holdKey(world, world.random.pick([...COUNTED, ...COUNTED, CONTESTED]));
}

/** Many want each key while nothing dies: some for so long that their turn passes before they write. */
export async function crowdKeys(world: World): Promise<void> {
  const keys = [...COUNTED, CONTESTED];
  await Promise.allSettled(keys.flatMap((key) => Array.from({ length: 5 }, () => holdKey(world, key))));
}

/** A worker checks out a key, works on it for a while, and writes it, gives it back as it was, or goes away. */
function holdKey(world: World, key: string): Promise<void> {
  const { agent, random, life } = world;
  if (!agent || agent.stopping) return Promise.resolve();
  const [waitMs, forMs, manner] = [random.pick(WAITS), random.pick(HOLDS), random.next()];
  const written = `held-${world.counted()}`;
  const session = agent.shared.session();
  const work = async () => {
    try {
      const checkedOut = await session.ask({ op: "checkout", key, waitMs });
      const { token, value } = checkedOut as { token: number; value: number | null };
      await life.sleep(forMs);
      if (manner < 0.15) return void (await session.ask({ op: "checkin", key, token }));
      if (manner < 0.25) return;
      const next = key === CONTESTED ? written : (value ?? 0) + 1;
      await writeHeld(world, key, next, () =>
        session.ask({ op: "update", key, token, value: next, ttlMs: null }),
      );
    } finally {
      session.close();
    }
  };
  const working = work();
  carried(world, `work on memory key ${key}`, working);
  return working;
}

async function writeHeld(world: World, key: string, next: Json, write: () => Promise<Json>): Promise<void> {
  const { shared, life } = world;
  const counted = shared.counted.get(key);
  counted?.sent();
  try {
    await write();
  } catch (error) {
    if (!(error instanceof HoldfastError) || error.code !== "expired") throw error;
    counted?.expired();
    if (!counted) shared.refused.add(next as string);
    return;
  }
  if (!life.dead && counted && !counted.confirmed(next as number))
    world.fail("increments are kept", `two were told that they made memory key ${key} ${next as number}`);
}

/** Somebody writes without a checkout: over holders, and what ends by itself. */
export function writeKey(world: World): void {
  const { agent, random } = world;
  if (!agent) return;
  const { memory } = agent.shared;
  const key = random.pick([CONTESTED, "brief"]);
  const ttlMs = key === CONTESTED ? null : random.pick([1_000, 40_000]);
  const written = `set-${world.counted()}`;
  const isSet = random.chance(0.6);
  world.say(`somebody ${isSet ? "sets" : "deletes"} memory key ${key}`);
  const work = isSet ? memory.set(NAMESPACE, key, written, ttlMs) : memory.delete(NAMESPACE, key);
  carried(world, `write of memory key ${key}`, work);
}

/** What the memory does once a minute, which most lives are too short for, with something to be swept. */
export function sweepMemory(world: World): void {
  const { agent, life } = world;
  if (!agent) return;
  const { memory } = agent.shared;
  const work = async () => {
    await memory.set(NAMESPACE, "brief", `set-${world.counted()}`, 1);
    await life.sleep(1);
    await agent.store.memorySweep(life.trusted());
  };
  carried(world, "sweep of the memory", work());
}

export function lookAtKeys(world: World): void {
  if (world.agent) carried(world, "look at the memory", world.shared.looked(world.agent.shared));
}

export function changeParameter(world: World): void {
  const { agent, random, shared } = world;
  if (!agent) return;
  const name = random.pick([...PLAIN, ...HIDDEN]);
  const { parameters } = agent.shared;
  const value = random.chance(0.65) ? `value-${world.counted()}` : null;
  keep(world, shared.parameters.get(name)!, `parameter ${name}`, value, () =>
    value === null
      ? parameters.remove(NAMESPACE, name)
      : parameters.set({
          ...{ namespace: NAMESPACE, name, value, secret: HIDDEN.includes(name) },
          changedBy: PERSON.by,
        }),
  );
}

export function changeSecret(world: World): void {
  const { agent, random, shared } = world;
  if (!agent) return;
  const { secrets } = agent.shared;
  if (random.chance(0.25)) {
    world.say("somebody rotates the key of the secrets");
    return carried(world, "rotation", secrets.rotate());
  }
  const name = random.pick(SECRETS);
  const value = random.chance(0.6) ? `secret-value-${world.counted()}` : null;
  keep(world, shared.secrets.get(name)!, `secret ${name}`, value, () =>
    value === null
      ? secrets.remove(NAMESPACE, name)
      : secrets.set({ namespace: NAMESPACE, name, value, changedBy: PERSON.by }),
  );
}

function keep(
  world: World,
  kept: KeptValue,
  what: string,
  value: string | null,
  write: () => Promise<unknown>,
): void {
  const { life } = world;
  if (!kept.begin(life.number, value)) return;
  world.say(`somebody ${value === null ? "removes" : "sets"} ${what}`);
  const written = write().then(
    () => life.dead || kept.done(value),
    (error: unknown) => {
      if (!life.dead) kept.failed();
      throw error;
    },
  );
  carried(world, `write of ${what}`, written);
}

export function pauseOrResume(world: World): void {
  const { agent, random, setting } = world;
  if (!agent || agent.triggers.length === 0 || setting.schedules.length === 0) return;
  const { name } = random.pick(setting.schedules);
  const { schedules } = agent.shared;
  const pauses = random.chance(0.4);
  world.say(`somebody ${pauses ? "pauses" : "resumes"} schedule ${name}`);
  const work = pauses ? schedules.pause(name, PERSON.by) : schedules.resume(name, PERSON.by);
  carried(world, `pause of schedule ${name}`, work);
}

export function cancelLater(world: World): void {
  const { agent, random, shared, life } = world;
  const waiting = agent?.shared.later.list() ?? [];
  if (!agent || waiting.length === 0) return;
  const { id } = random.pick(waiting).row;
  world.say(`somebody cancels ${id}, which is put off`);
  const cancelled = agent.shared.later.cancel(id);
  carried(
    world,
    `cancel of ${id}`,
    cancelled.then(() => life.dead || shared.cancelled.add(id)),
  );
}
