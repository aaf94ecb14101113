import type { StreamHead, StreamHeads } from "./stream-heads.ts";

/** Segments of a lane that may wait for the hub at once, the open one included. */
export const MAX_SEGMENTS = 16;

/**
 * Ends the open segment of each of these lanes, so that fresh rows need not wait behind its backlog. A lane with as many
 * segments as may wait goes on in its open one. The lanes whose segment was closed.
 */
export function closeSegments(heads: StreamHeads, lanes: number[]): number[] {
  heads.flushRows();
  return lanes.filter((lane) => {
    const waiting = heads.all().filter((head) => head.lane === lane && head.acknowledged < head.last);
    const open = waiting.find(({ state }) => state === "open");
    if (!open || waiting.length >= MAX_SEGMENTS) return false;
    heads.close(lane);
    return true;
  });
}

/** Whether the hub holds every row of the lane's older segments. */
export function isNext(heads: StreamHead[], { lane, segment }: StreamHead): boolean {
  return heads.every(
    (head) => head.lane !== lane || head.segment >= segment || head.acknowledged === head.last,
  );
}
