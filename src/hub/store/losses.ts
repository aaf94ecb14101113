import { type LossRecordBody, RECORD_CLASSES, type StreamRecord } from "../../model/record.ts";
import { parseLoss } from "../../protocol/loss.ts";
import type { Queries, Row, Value } from "./database.ts";
import { insertMany } from "./insert-many.ts";

/** Rows of an agent that nobody has any more, as the agent has signed it. */
export interface LossView {
  epoch: string;
  lane: number;
  segment: number;
  first: number;
  last: number;
  /** By the class's number. */
  counts: Record<string, number>;
  reason: LossRecordBody["reason"];
  /** By the agent's trusted clock. */
  atMs: number;
  receivedMs: number;
}

const LISTED = 1000;

/** Keeps what loss records among rows that are new say of their stream. */
export async function addLosses(
  tx: Queries,
  stream: Value,
  records: StreamRecord[],
  publicKey: Uint8Array,
  nowMs: number,
): Promise<void> {
  const rows = records
    .filter((record) => record.class === RECORD_CLASSES.loss)
    .map(({ body }) => lossValues(stream, parseLoss(body), publicKey, nowMs));
  await insertMany(
    tx,
    {
      into: "losses (stream, first, last, counts, prev_hash, hash, reason, at, signature, public_key, received)",
      columns: 11,
    },
    rows,
  );
}

function lossValues(stream: Value, loss: LossRecordBody, publicKey: Uint8Array, nowMs: number): Value[] {
  const { first, last, counts, prevHash, lastHash, reason, atMs, signature } = loss;
  const bytes = (text: string, encoding: "hex" | "base64") => new Uint8Array(Buffer.from(text, encoding));
  return [
    ...[stream, first, last, JSON.stringify(counts), bytes(prevHash, "hex"), bytes(lastHash, "hex")],
    ...[reason, atMs, bytes(signature ?? "", "base64"), publicKey, nowMs],
  ];
}

export const LOSSES_OF_AGENT = {
  text: `SELECT streams.epoch, streams.lane, streams.segment, losses.first, losses.last, losses.counts, losses.reason,
      losses.at, losses.received, losses.hash
    FROM losses JOIN streams ON streams.id = losses.stream WHERE streams.agent = ?
    ORDER BY losses.stream DESC, losses.first DESC LIMIT ${LISTED}`,
};

/**
 * Rows of one agent that are gone. A loss that an agent has carried into a new epoch has the same last hash there, and counts
 * once.
 */
export const LOST_ROWS = `SELECT COALESCE(SUM(rows), 0) AS rows FROM (
    SELECT MAX(losses.last - losses.first + 1) AS rows FROM losses JOIN streams ON streams.id = losses.stream
    WHERE streams.agent = ? GROUP BY losses.hash) AS each_loss`;

export function lossOf(row: Row): LossView {
  return {
    epoch: row.epoch as string,
    lane: Number(row.lane),
    segment: Number(row.segment),
    first: Number(row.first),
    last: Number(row.last),
    counts: JSON.parse(row.counts as string) as Record<string, number>,
    reason: row.reason as LossView["reason"],
    atMs: Number(row.at),
    receivedMs: Number(row.received),
  };
}
