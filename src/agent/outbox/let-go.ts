import type { OutboxStore } from "./ports.ts";

/**
 * For an agent without a hub: nobody acknowledges, and the outbox would grow for ever. Marks every row as held, so that
 * retention keeps only the newest. A hub that is joined later gets what is left, under a new epoch where rows are gone.
 */
export async function letGo(
  store: Pick<OutboxStore, "streams" | "acknowledge">,
  epoch: string,
): Promise<void> {
  for (const { lane, segment, last, lastHash, acknowledged } of await store.streams()) {
    if (last > acknowledged) await store.acknowledge({ epoch, lane, segment, number: last, hash: lastHash });
  }
}
