import type { Logger } from "../../core/logger.ts";
import type { OutboxStore, StoredStream } from "./ports.ts";

/** What a lane may have waiting when a session begins before its fresh rows go past it. */
export interface BacklogBounds {
  rows: number;
  bytes: number;
}

export const BACKLOG: BacklogBounds = { rows: 5000, bytes: 8 * 1024 * 1024 };

/** Closes the open segment of each lane that comes back with a large backlog. */
export async function closeBacklogs(
  store: Pick<OutboxStore, "streams" | "closeSegments">,
  bounds: BacklogBounds,
  log: Logger,
): Promise<void> {
  const large = (await store.streams()).filter(
    ({ closed, rows, bytes }) => !closed && (rows > bounds.rows || bytes > bounds.bytes),
  );
  if (large.length === 0) return;
  const closed = await store.closeSegments(large.map(({ lane }) => lane));
  for (const { lane, segment, rows, bytes } of large.filter((stream) => closed.includes(stream.lane))) {
    log.info("a large backlog drains beside fresh rows", { lane, segment, rows, bytes });
  }
}

/**
 * What of each stream a new epoch need not send again. Behind the first row of a lane that the hub does not hold everything
 * is sent: it stands for the newest state only when it comes last.
 */
export function heldInOrder(
  streams: Pick<StoredStream, "lane" | "segment" | "last" | "acknowledged">[],
  hub: ReadonlyMap<string, number>,
): { lane: number; segment: number; number: number }[] {
  const open = new Set<number>();
  return streams
    .toSorted((a, b) => a.lane - b.lane || a.segment - b.segment)
    .map(({ lane, segment, last, acknowledged }) => {
      const held = Math.min(acknowledged, hub.get(`${lane}/${segment}`) ?? 0);
      const number = open.has(lane) ? 0 : held;
      if (held < last) open.add(lane);
      return { lane, segment, number };
    });
}
