import type { Resources } from "../../../model/permissions.ts";
import type { LaunchPolicy } from "./launch-policy.ts";

const MB = 1024 ** 2;
/** What the JavaScript engine has reserved before a plugin has done anything. */
const HOST_DATA = 229 * MB;
/** A program may reserve more than it uses: stacks of threads, arenas. The memory watch is what counts. */
const PROGRAM_DATA = 256 * MB;
/** Threads of the engine count as processes. */
const HOST_THREADS = 64;

export interface LimitPlan {
  resources: Resources;
  host: boolean;
  /** Processes are counted by user: only one of its own, or a user namespace, counts its own alone. */
  ownUser: boolean;
  /** Its control group holds the memory, exactly: no limit on what is only reserved. */
  memoryByCgroup: boolean;
}

/** The kernel's limits on each process. They are the backstop; groups and watches hold the worker as a whole. */
export function planLimits({ resources, host, ownUser, memoryByCgroup }: LimitPlan): LaunchPolicy["rlimits"] {
  const { memory, cpuTime, fileSize, openFiles, processes } = resources;
  return {
    CORE: 0,
    FSIZE: fileSize,
    NOFILE: openFiles,
    ...(cpuTime === null ? {} : { CPU: Math.max(1, Math.ceil(cpuTime / 1000)) }),
    ...(ownUser ? { NPROC: processes + (host ? HOST_THREADS : 0) } : {}),
    ...(memoryByCgroup ? {} : { DATA: memory + (host ? HOST_DATA : PROGRAM_DATA) }),
  };
}
