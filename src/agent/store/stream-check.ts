import type { Database } from "bun:sqlite";
import { HoldfastError } from "../../core/errors.ts";
import type { StreamHeads } from "./stream-heads.ts";

interface Stream {
  lane: number;
  segment: number;
}

/** From here on adding one row more changes nothing, sooner or later. */
const MOST_ROWS = 2 ** 52;

/**
 * Throws `corrupt` where the outbox has rows that no stream has given out: the next row would take the number of one that
 * is there, and no change of any run could be stored again. A look or two for each stream.
 */
export function checkStreams(database: Database, heads: StreamHeads): void {
  for (const { lane, state, last, acknowledged, trimmed } of heads.all()) {
    const isNumbered = [last, acknowledged, trimmed].every((number) => number >= 0 && number < MOST_ROWS);
    // In no other state: the lane would begin again with a first row.
    if (isNumbered && (state === "open" || state === "closed")) continue;
    throw new HoldfastError("corrupt", `a stream of lane ${lane} is ${state} and has given out ${last} rows`);
  }
  const next = database.query(
    "SELECT lane, segment FROM outbox WHERE (lane, segment) > (?, ?) ORDER BY lane, segment LIMIT 1",
  );
  const last = database.query("SELECT max(number) AS number FROM outbox WHERE lane = ? AND segment = ?");
  for (let at = next.get(-1, -1) as Stream | null; at; at = next.get(at.lane, at.segment) as Stream | null) {
    const { number } = last.get(at.lane, at.segment) as { number: number };
    if (number <= (heads.get(at.lane, at.segment)?.last ?? 0)) continue;
    throw new HoldfastError(
      "corrupt",
      `the outbox has row ${number} of segment ${at.segment} of lane ${at.lane}, which its stream has not given out`,
    );
  }
}
