import { parseDuration } from "../../core/duration.ts";
import { parseSize } from "../../core/size.ts";
import type { Config } from "../../model/config.ts";
import { type Cap, DEFAULT_RETENTION, type Retention } from "./retention.ts";

/** Of `limits.disk`, what the store may have: the logs need some too, and above all of it triggers are paused. */
const PART_OF_DISK = 3 / 4;
const PART_FOR_SENT = 8;
const PART_FOR_OUTBOX = 2;
/** Without a hub nobody asks for rows again; one that is joined later gets so many of the newest. */
const ROWS_WITHOUT_HUB = 10_000;

/** `history` and `sync` of the configuration, as the store is told it. */
export function configuredRetention({
  history,
  hub,
  limits,
  outputs,
  sync,
}: Pick<Config, "history" | "hub" | "limits" | "outputs" | "sync">): Retention {
  const cap = ({ keep, age }: { keep: number; age: string }): Cap => ({ keep, ageMs: parseDuration(age) });
  const bytes = Math.min(parseSize(history.size), Math.floor(parseSize(limits.disk) * PART_OF_DISK));
  return {
    ...DEFAULT_RETENTION,
    events: cap(history.events),
    runs: cap(history.runs),
    findings: cap(history.findings),
    deadLetters: cap(history.dead_letters),
    outputs: outputs.filter(({ enabled }) => enabled).map(({ name }) => name),
    bytes,
    outbox: {
      ...DEFAULT_RETENTION.outbox,
      rows: sync.outbox.rows,
      bytes: Math.min(parseSize(sync.outbox.size), Math.floor(bytes / PART_FOR_OUTBOX)),
    },
    sent: {
      ...DEFAULT_RETENTION.sent,
      ...(hub ? {} : { rows: ROWS_WITHOUT_HUB }),
      ageMs: parseDuration(sync.keep.age),
      // Rows of events hold the events themselves: they must not be most of what there is room for.
      bytes: Math.min(parseSize(sync.keep.size), Math.floor(bytes / PART_FOR_SENT)),
    },
  };
}
