import { parseDuration } from "../../core/duration.ts";
import type { MaintenanceConfig } from "../../model/config-maintenance.ts";
import type { Config } from "../../model/config.ts";
import { parseCron } from "../../model/cron.ts";
import type { Zone } from "../../model/cron-zone.ts";
import type { MaintenanceDefinition, WindowTiming } from "../../model/maintenance.ts";
import { parseTime } from "../../model/schedule-time.ts";
import { zoneCache } from "../../model/schedule-timing.ts";

/** Every maintenance window that is enabled, with its times worked out. `hostZone`: where no zone is named. */
export function maintenanceDefinitions(config: Config, hostZone: () => string): MaintenanceDefinition[] {
  const zoneOf = zoneCache(hostZone);
  return config.maintenance
    .filter(({ enabled }) => enabled)
    .map((window) => ({
      name: window.name,
      match: Object.entries(window.match).map(([name, pattern]) => ({ name, pattern })),
      mute: window.mute,
      brake: window.brake,
      timing: timingOf(window, zoneOf),
    }));
}

function timingOf(window: MaintenanceConfig, zoneOf: (name: string | undefined) => Zone): WindowTiming {
  const { schedule, from, until } = window;
  if (schedule !== undefined) {
    const forMs = parseDuration(window.for!);
    return { kind: "cron", text: schedule, cron: parseCron(schedule), zone: zoneOf(window.time_zone), forMs };
  }
  const fromMs = parseTime(from!);
  return { kind: "once", fromMs, forMs: parseTime(until!) - fromMs };
}
