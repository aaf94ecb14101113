import type { Clock } from "./clock.ts";
import type { SinceBoot } from "./since-boot.ts";

/** How often the trusted time is put into the store, so that a clock that was set back cannot move it. */
const KEEP_EVERY_MS = 60_000;

/** The trusted time as it was, and how long the host had been up then. */
export type TimeMark = { trustedMs: number; boot: string | null; uptimeMs: number | null };

export interface TimeMarks {
  read(): Promise<unknown>;
  write(mark: TimeMark): Promise<void>;
}

export interface KeptTime {
  /** Keeps the time as it is now. */
  keep(): Promise<void>;
  /** Keeps no more of it. */
  stop(): void;
}

/** Takes up the trusted time where the store has it, and keeps remembering it. */
export async function keepTrustedTime(marks: TimeMarks, clock: Clock, host: SinceBoot): Promise<KeptTime> {
  takeUp(await marks.read(), clock, host);
  let stopped = false;
  let cancel = () => {};
  const keep = () => marks.write({ trustedMs: clock.trusted(), boot: host.boot, uptimeMs: host.uptimeMs() });
  const later = () => {
    if (!stopped) cancel = clock.after(KEEP_EVERY_MS, () => void keep().then(later, later));
  };
  later();
  return {
    keep,
    stop() {
      stopped = true;
      cancel();
    },
  };
}

/**
 * As long as the host was not booted again, its uptime says how late it is, whatever the wall clock says by now: one that
 * is a year ahead must not take the trusted time with it because the process was restarted meanwhile.
 */
function takeUp(remembered: unknown, clock: Clock, host: SinceBoot): void {
  // Before the uptime was kept beside it, the mark was a number.
  if (typeof remembered === "number") return clock.trust(remembered);
  if (!isMark(remembered)) return;
  const { trustedMs, boot, uptimeMs } = remembered;
  const now = host.uptimeMs();
  const sameBoot = boot !== null && boot === host.boot && uptimeMs !== null && now !== null;
  if (sameBoot && now >= uptimeMs) clock.trust(trustedMs + (now - uptimeMs), true);
  else clock.trust(trustedMs);
}

function isMark(value: unknown): value is TimeMark {
  return typeof value === "object" && value !== null && typeof (value as TimeMark).trustedMs === "number";
}
