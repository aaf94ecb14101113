import { isoTime } from "../../core/iso-time.ts";
import type { ControlBrake } from "./control-ports.ts";

/** Times are RFC 3339, by the host's clock as it is now. */
export function brakeView(
  { on, set, windows }: ReturnType<ControlBrake["state"]>,
  held: { runs: number; steps: number },
  { wallMs, trustedMs }: { wallMs: number; trustedMs: number },
) {
  const shown = (untilMs: number) => isoTime(wallMs + untilMs - trustedMs);
  const over = set !== null && set.untilMs !== null && set.untilMs <= trustedMs;
  return {
    on,
    by: set === null || over ? null : set.by,
    reason: set === null || over ? null : set.reason,
    since: set === null || over ? null : isoTime(set.sinceMs),
    until: set === null || over || set.untilMs === null ? null : shown(set.untilMs),
    maintenance: windows.map(({ name, untilMs }) => ({ name, until: shown(untilMs) })),
    held,
  };
}
