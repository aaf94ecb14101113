import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { TimeMarks } from "../core/trusted-time.ts";
import { letGo } from "./outbox/let-go.ts";
import type { AgentStore } from "./store/port.ts";

/** How often an agent without a hub lets go of old outbox rows. */
const UNHEARD_EVERY_MS = 30_000;

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
