import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { TimeMarks } from "../core/trusted-time.ts";
import { letGo } from "./outbox/let-go.ts";
import type { AgentStore } from "./store/port.ts";

/** How often an agent without a hub lets go of old outbox rows. */
const UNHEARD_EVERY_MS = 30_000;

/** How often history is looked at when nothing else asks for it: rows grow too old by themselves. */
const HISTORY_EVERY_MS = 60_000;

/** Has the store let go of what it need not keep, again and again, until the returned function is called. */
export function keepHistory(store: { trim(): Promise<void> }, clock: Clock): () => void {
  let stopped = false;
  let cancel = () => {};
  const later = () => {
    if (!stopped) cancel = clock.after(HISTORY_EVERY_MS, () => void store.trim().then(later, later));
  };
  later();
  return () => {
    stopped = true;
    cancel();
  };
}

/** Where the trusted time is remembered. */
export function timeMarks(store: AgentStore): TimeMarks {
  return {
    read: () => store.setting("trusted_ms"),
    write: (mark) => store.setSetting("trusted_ms", mark),
  };
}

/** Each time again, also after a failure: a disk that was full may have room later. */
export function keepOnlyTheNewest(store: AgentStore, clock: Clock, log: Logger): void {
  clock.after(UNHEARD_EVERY_MS, () => {
    letGo(store, store.facts.epoch)
      .catch((error: unknown) => log.debug(`old rows were not let go: ${messageOf(error)}`))
      .finally(() => keepOnlyTheNewest(store, clock, log));
  });
}
