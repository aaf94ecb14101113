import type { Clock } from "../core/clock.ts";
import { formatDuration } from "../core/duration.ts";
import { messageOf } from "../core/errors.ts";
import type { Ids } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import type { Jump, TimeWatch } from "../core/time-watch.ts";
import { CLOCK_TRIGGER, clockJumped, isSleep } from "../model/clock-event.ts";
import { eventSource, MAX_EVENT_BYTES, type ProposedEvent } from "../model/event.ts";
import type { AgentStore } from "./store/port.ts";

/** A jump is noticed within this; sooner, where a schedule goes by the wall clock. */
const LOOK_EVERY_MS = 5_000;

export interface ClockWatchOptions {
  watch: TimeWatch;
  /** Keeps the event of a jump. */
  record(event: ProposedEvent): Promise<void>;
  clock: Clock;
  log: Logger;
}

/** Looks at the host's clock from now on, and tells when it has jumped, until the returned function is called. */
export function watchClock(options: ClockWatchOptions): () => void {
  const { watch, clock } = options;
  let cancel = () => {};
  const again = () => {
    watch.look();
    cancel = clock.after(LOOK_EVERY_MS, again);
  };
  const deaf = watch.onJump((jump) => tell(options, jump));
  again();
  return () => {
    cancel();
    deaf();
  };
}

function tell({ record, log }: ClockWatchOptions, jump: Jump): void {
  const { byMs, asleepMs } = jump;
  if (isSleep(jump)) log.info(`the host was asleep for about ${roughly(asleepMs)}`, { ...jump });
  else {
    const way = byMs > 0 ? "forward" : "back";
    log.warn(`the host's clock was set ${way} by about ${roughly(Math.abs(byMs))}`, { ...jump });
  }
  record(clockJumped(jump)).catch((error: unknown) => {
    log.warn("the event of the clock's jump could not be kept", { error: messageOf(error) });
  });
}

/** In the largest unit of which there are at least two. */
function roughly(ms: number): string {
  const unit = [86_400_000, 3_600_000, 60_000].find((each) => ms >= 2 * each) ?? 1_000;
  return formatDuration(Math.round(ms / unit) * unit);
}

/** Keeps an event of the agent's own for one that has nothing else to do: no rules, and so no recorder. */
export async function recordAlone(
  { store, clock, ids, agentId }: { store: AgentStore; clock: Clock; ids: Ids; agentId: string },
  proposed: ProposedEvent,
  trigger: string = CLOCK_TRIGGER,
): Promise<void> {
  const { checkedRow, envelope } = await import("./events/envelope.ts");
  const recordedMs = clock.wall();
  const source = eventSource(agentId, trigger);
  const event = envelope(source, proposed, new Date(recordedMs).toISOString(), () => ids.next());
  const events = [checkedRow(event, recordedMs, MAX_EVENT_BYTES)];
  await store.commitEvents({ trigger, events, runs: [], checkpoint: undefined, recordedMs });
}
