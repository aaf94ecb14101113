import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { letGo } from "./outbox/let-go.ts";
import type { AgentStore } from "./store/port.ts";

/** How often the trusted time is put into the store, so that a clock that was set back cannot move it. */
const TRUSTED_EVERY_MS = 60_000;
/** How often an agent without a hub lets go of old outbox rows. */
const UNHEARD_EVERY_MS = 30_000;

/** Raises trusted time to what the store remembers, and keeps remembering it until the returned function is called. */
export async function keepTrustedTime(store: AgentStore, clock: Clock): Promise<() => void> {
  const remembered = await store.setting("trusted_ms");
  if (typeof remembered === "number") clock.trust(remembered);
  let stopped = false;
  let cancel = () => {};
  const later = () => {
    if (!stopped) cancel = clock.after(TRUSTED_EVERY_MS, again);
  };
  const again = () => void store.setSetting("trusted_ms", clock.trusted()).then(later, later);
  later();
  return () => {
    stopped = true;
    cancel();
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
