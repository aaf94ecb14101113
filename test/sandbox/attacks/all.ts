import type { Attack } from "../attack.ts";
import { EXECUTION } from "./execution.ts";
import { KERNEL, OWN_LIMITS } from "./kernel.ts";
import { LIMITS } from "./limits.ts";
import { MEMORY } from "./memory.ts";
import { NETWORK } from "./network.ts";
import { PROCESSES } from "./processes.ts";
import { PLACES } from "./places.ts";
import { READ_HOST } from "./read-host.ts";
import { READS } from "./reads.ts";
import { WRITES } from "./writes.ts";

/** Everything that the escape suite tries. */
export const ATTACKS: Attack[] = [
  ...READS,
  ...READ_HOST,
  ...WRITES,
  ...PLACES,
  ...NETWORK,
  ...EXECUTION,
  ...PROCESSES,
  ...KERNEL,
  ...OWN_LIMITS,
  ...MEMORY,
  ...LIMITS,
];
