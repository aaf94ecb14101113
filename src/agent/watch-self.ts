import type { Clock } from "../core/clock.ts";
import { parseDuration } from "../core/duration.ts";
import type { Logger } from "../core/logger.ts";
import { parseSize } from "../core/size.ts";
import type { Config } from "../model/config.ts";
import type { Automation } from "./automation.ts";
import type { AgentHome } from "./config/home.ts";
import type { EmitGate } from "./self-limits/emit-gate.ts";
import { createSampler } from "./self-limits/sample.ts";
import { SelfLimits } from "./self-limits/self-limits.ts";
import { trimLogs } from "./self-limits/trim-logs.ts";
import type { Workers } from "./workers/workers.ts";

export interface WatchSelfOptions {
  home: AgentHome;
  config: Config;
  gate: EmitGate;
  /** null as long as there is none. */
  automation: () => Automation | null;
  workers: () => Workers | null;
  clock: Clock;
  log: Logger;
}

/** Holds what the agent and its workers use together to `limits`: wires the rooms that know it and that can give way. */
export function watchSelf({
  home,
  config,
  gate,
  automation,
  workers,
  clock,
  log,
}: WatchSelfOptions): SelfLimits {
  const { memory, cpu, disk, interval } = config.limits;
  // Not the audit: that is never given up for room.
  const logFolders = [home.logs, home.pluginLogs];
  return new SelfLimits({
    limits: { memory: parseSize(memory), cpu, disk: parseSize(disk) },
    intervalMs: parseDuration(interval),
    sample: createSampler({
      database: home.database,
      logFolders: [...logFolders, home.auditLogs],
      workers: () => workers()?.use() ?? { memoryBytes: 0, cpuMs: 0 },
      clock,
    }),
    gate,
    stopIdleWorkers: () => automation()?.stopIdleActions() ?? 0,
    restartLargestTrigger: (reason) => automation()?.triggers.restartLargest(reason) ?? null,
    collectGarbage: () => Bun.gc(true),
    trimLogs: (bytes) => trimLogs(logFolders, bytes),
    clock,
    log: log.child("limits"),
  });
}
