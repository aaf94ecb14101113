import type { Attack } from "../attack.ts";
import { EXECUTION } from "./execution.ts";
import { KERNEL, OWN_LIMITS } from "./kernel.ts";
import { LIMITS } from "./limits.ts";
import { NETWORK } from "./network.ts";
import { PROCESSES } from "./processes.ts";
import { READS } from "./reads.ts";
import { WRITES } from "./writes.ts";

/** Everything that the escape suite tries. */
export const ATTACKS: Attack[] = [
  ...READS,
  ...WRITES,
  ...NETWORK,
  ...EXECUTION,
  ...PROCESSES,
  ...KERNEL,
  ...OWN_LIMITS,
  ...LIMITS,
];
