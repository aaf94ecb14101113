import type { Aim } from "./aims.ts";
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

/** One seed from beginning to end. `table` counts the faults that struck; `aims` in place of those that the seed draws. */
export async function simulate(seed: number, table: FaultTable, aims?: Aim[]): Promise<SimulationResult> {
  const world = new World(seed, table, aims);
  await runWorld(world);
  const { story } = world;
  return { seed, hash: story.hash(), violation: story.violation, story: story.lines };
}

/** What is printed of a seed that failed. */
export function report({ seed, violation, story }: SimulationResult, aim?: Aim): string {
  const told = [...story, "", `seed ${seed}: ${violation!.message}`];
  const aimed = aim ? ` --aim "${aim.label}, ${aim.kind}"` : "";
  return [...told, `replay: npm run simulate -- --seeds 1 --from ${seed}${aimed}`].join("\n");
}
