import { statSync } from "node:fs";
import type { AgentHome } from "../../agent/config/home.ts";
import type { Clock } from "../../core/clock.ts";
import type { DoctorCheck } from "./report.ts";

/** A clock that is so little behind what it said before is a correction by NTP. */
const TOLERANCE_MS = 5 * 60_000;
const FIX = "set the clock (timedatectl set-ntp true)";

/** Whether the host's clock can be right: not before this executable was built, nor before the agent last wrote. */
export function clockCheck(clock: Clock, home: AgentHome | null): DoctorCheck {
  const name = "clock";
  const now = clock.wall();
  const said = new Date(now).toISOString();
  // The trusted time is never before the build.
  if (clock.trusted() - now > TOLERANCE_MS) {
    return { name, state: "failed", detail: `it says ${said}, before this executable was built`, fix: FIX };
  }
  const newest = Math.max(0, ...writtenBy(home).map((path) => changedAt(path)));
  if (newest - now > TOLERANCE_MS) {
    const later = new Date(newest).toISOString();
    return {
      name,
      state: "failed",
      detail: `it says ${said}, but the agent's files are of ${later}`,
      fix: FIX,
    };
  }
  return { name, state: "ok", detail: said };
}

function writtenBy(home: AgentHome | null): string[] {
  return home === null ? [] : [home.database, `${home.database}-wal`, home.logFile, home.lockFile];
}

function changedAt(path: string): number {
  try {
    return statSync(path).mtimeMs;
  } catch {
    return 0;
  }
}
