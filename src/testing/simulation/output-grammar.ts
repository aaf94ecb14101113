import type { PumpOptions } from "../../agent/outputs/output-pump.ts";
import type { Seeded } from "../seeded.ts";
import { TYPES } from "./names.ts";

export type SimulatedOutput = PumpOptions;

/** Outputs for some of the lines or for everything, some of which may not fall far behind. */
export function randomOutputs(random: Seeded): SimulatedOutput[] {
  if (random.chance(0.5)) return [];
  const type = random.pick([...TYPES, null]);
  return [
    {
      name: "o0",
      accepts: (event) => type === null || event.type === type,
      batch: { events: random.int(1, 9), bytes: 1_000_000, delayMs: random.pick([0, 0, 1_000]) },
      backlog: random.pick([6, 30, 900_000]),
      retry: { kind: "exponential", initialMs: 500, maxMs: 30_000 },
      breaker: { failures: random.int(2, 5), delayMs: 30_000 },
    },
  ];
}
