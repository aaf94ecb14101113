import { FaultTable } from "./faults-drawn.ts";
import { World } from "./world.ts";
import { runWorld } from "./run-world.ts";
import type { Violation } from "./story.ts";

export interface SimulationResult {
  seed: number;
  hash: string;
  violation: Violation | null;
  /** Acts and faults, one line each. */
  story: string[];
}

/** One seed from beginning to end. `table` counts the faults that struck. */
export async function simulate(seed: number, table: FaultTable): Promise<SimulationResult> {
  const world = new World(seed, table);
  await runWorld(world);
  const { story } = world;
  return { seed, hash: story.hash(), violation: story.violation, story: story.lines };
}

/** What is printed of a seed that failed. */
export function report({ seed, violation, story }: SimulationResult): string {
  const told = [...story, "", `seed ${seed}: ${violation!.message}`];
  return [...told, `replay: npm run simulate -- --seeds 1 --from ${seed}`].join("\n");
}
