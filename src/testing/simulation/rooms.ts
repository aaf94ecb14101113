import { FaultTable, writeLabels } from "./faults-drawn.ts";
import { runWorld } from "./run-world.ts";
import { World } from "./world.ts";

/** The rooms of the first life of a seed's agent, after the simulation has run: to see whose classes they are. */
export async function agentOfSeed(seed: number) {
  const world = new World(seed, new FaultTable(await writeLabels()));
  await runWorld(world);
  const { store, engine, recorder, rules, hub, shared } = world.firstAgent!;
  return { store, engine, recorder, rules, outbox: hub.outbox, shared };
}
