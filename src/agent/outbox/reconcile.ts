import { HoldfastError } from "../../core/errors.ts";
import type { StreamCursor } from "../../model/record.ts";
import type { Common } from "../../protocol/capabilities.ts";
import { sameHash } from "../../protocol/chain.ts";
import { otherHistory } from "./other-history.ts";
import type { OutboxStore, StoredStream } from "./ports.ts";
import { readRows } from "./read-rows.ts";

/**
 * Where to go on in each stream, given the hub's cursors: by `lane/segment` the number to send next. Without
 * receipts, commits what the hub holds beyond our mark. Throws `otherHistory` when the two cannot be the same history: the hub has more than was ever
 * written here (this store is an old copy), other rows (a fork), or has lost rows that are gone here too.
 */
export async function reconcile(
  store: OutboxStore,
  epoch: string,
  cursors: StreamCursor[],
  common: Common,
): Promise<Map<string, number>> {
  const starts = new Map<string, number>();
  const stored = new Map(
    (await store.streams()).map((stream) => [`${stream.lane}/${stream.segment}`, stream]),
  );
  const ours = cursors.filter((cursor) => cursor.epoch === epoch && cursor.number > 0);
  const oldest = oldestByLane([...stored.values()]);
  const problems = lostEnds([...oldest.values()], ours);
  for (const cursor of ours) {
    if (cursor.segment < (oldest.get(cursor.lane)?.segment ?? 0)) continue;
    const stream = stored.get(`${cursor.lane}/${cursor.segment}`);
    const problem =
      stream === undefined || cursor.number > stream.last
        ? `the hub holds ${cursor.number} rows of lane ${cursor.lane}, this store has written only ${stream?.last ?? 0}: ` +
          "this store is an older copy"
        : await compare(store, stream, cursor, common);
    if (problem !== null) problems.push(problem);
    else starts.set(`${cursor.lane}/${cursor.segment}`, cursor.number + 1);
  }
  for (const [key, stream] of stored) {
    if (starts.has(key) || stream.last === 0) continue;
    if (ours.some((cursor) => `${cursor.lane}/${cursor.segment}` === key)) continue;
    const problem = await resendable(store, stream, 0, undefined);
    if (problem !== null) problems.push(problem);
    else starts.set(key, 1);
  }
  if (problems.length > 0) throw otherHistory(problems.join("; "));
  return starts;
}

function oldestByLane(stored: StoredStream[]): Map<number, StoredStream> {
  const oldest = new Map<number, StoredStream>();
  for (const stream of stored) {
    if (stream.segment < (oldest.get(stream.lane)?.segment ?? Number.POSITIVE_INFINITY))
      oldest.set(stream.lane, stream);
  }
  return oldest;
}

/** Segments that are forgotten here ended where the oldest that is known begins: there the hub's copy must end too. */
function lostEnds(oldest: StoredStream[], cursors: StreamCursor[]): string[] {
  return oldest
    .filter(({ lane, segment, firstLink }) => {
      if (segment === 1) return false;
      const before = cursors.find((cursor) => cursor.lane === lane && cursor.segment === segment - 1);
      return before === undefined || !sameHash(before.hash, firstLink);
    })
    .map(
      ({ lane, segment }) =>
        `the hub has lost rows of lane ${lane}, segment ${segment - 1}, and this store keeps them no more`,
    );
}

/** Null when the hub's cursor lies in our own history and the rest can be supplied. */
async function compare(
  store: OutboxStore,
  stream: StoredStream,
  cursor: StreamCursor,
  common: Common,
): Promise<string | null> {
  if (cursor.number === stream.last && !sameHash(cursor.hash, stream.lastHash)) return forked(cursor);
  // With receipts a cursor alone counts for nothing: the hub acknowledges it once more, with its signature.
  if (cursor.number > stream.acknowledged && !common.has("receipts")) {
    try {
      await store.acknowledge(cursor);
      return null;
    } catch (error) {
      if (error instanceof HoldfastError && error.code === "conflict") return forked(cursor);
      throw error;
    }
  }
  return cursor.number === stream.last ? null : await resendable(store, stream, cursor.number, cursor);
}

/** Null when rows after `number` are still here and are the continuation of the hub's. */
async function resendable(
  store: OutboxStore,
  stream: StoredStream,
  number: number,
  cursor: StreamCursor | undefined,
): Promise<string | null> {
  const batch = await readRows(store, stream, number + 1, { rows: 1, bytes: 1 });
  if (batch === null) {
    return `the hub has lost rows of lane ${stream.lane} from number ${number + 1} on, and this store keeps them no more`;
  }
  return cursor !== undefined && !sameHash(batch.prevHash, cursor.hash) ? forked(cursor) : null;
}

function forked(cursor: StreamCursor): string {
  return `the hub holds another row ${cursor.number} of lane ${cursor.lane} than this store (a fork)`;
}
