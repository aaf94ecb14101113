import { HoldfastError } from "../../core/errors.ts";
import { type RecordBatch, type StreamCursor, ZERO_HASH } from "../../model/record.ts";
import { chainHashes, sameHash } from "../../protocol/chain.ts";
import type { Queries, Value } from "./database.ts";
import { lastOf, startsOf } from "../../protocol/loss.ts";
import { insertMany } from "./insert-many.ts";
import { addLosses } from "./losses.ts";
import type { IngestResult } from "./port.ts";
import { rowsBeyondEnd } from "./segment-link.ts";
import { eventValues, type Origin, type Projected, project, runValues, stepValues } from "./projection.ts";

/** Rows set aside of one stream at most; an agent that goes on forking changes nothing more. */
const FORK_LIMIT = 10_000;

interface Stream {
  id: Value;
  number: number;
  hash: Uint8Array;
  forked: number;
  /** First link of the next segment, when that is here. */
  nextLink: Uint8Array | null;
}

/** A batch with the hash of every row, checked against its last hash. */
export interface CheckedBatch {
  batch: RecordBatch;
  hashes: Uint8Array[];
  bytes: number;
  /** Of the certificate of the agent's session, SPKI, DER. */
  publicKey: Uint8Array;
}

/** Recomputes the chain of a batch. Throws `invalid` where it does not end in the hash that came with it. */
export function checkChain(batch: RecordBatch, publicKey: Uint8Array): CheckedBatch {
  const hashes = chainHashes(batch.prevHash, batch.records);
  const last = hashes.at(-1);
  if (!last || !sameHash(last, batch.lastHash)) {
    throw new HoldfastError(
      "invalid",
      `Rows ${batch.first} to ${lastOf(batch)} of ${streamName(batch)} are damaged: their ` +
        "chain does not end in the hash that was sent with them. Nothing of them was kept; send them again",
    );
  }
  const bytes = batch.records.reduce((sum, record) => sum + record.body.length + 128, 256);
  return { batch, hashes, bytes, publicKey };
}

/** Takes a checked batch into its stream. `nextRun` gives the place of a run in the order of changes. */
export async function ingestBatch(
  tx: Queries,
  agent: string,
  checked: CheckedBatch,
  nowMs: number,
  nextRun: () => number,
): Promise<IngestResult> {
  const { batch, hashes } = checked;
  const known = await findStream(tx, agent, batch);
  const stream = known ?? emptyStream(batch, await nextLink(tx, agent, batch));
  const cursor = cursorOf(batch, stream.number, stream.hash);
  if (batch.first > stream.number + 1) return { kind: "gap", cursor };

  // A hash covers every row before it: comparing the last row that both sides have proves the whole overlap.
  const skip = batch.records.filter(({ number }) => number <= stream.number).length;
  const shared = skip === 0 ? batch.first - 1 : batch.records[skip - 1]!.number;
  const theirs = skip === 0 ? batch.prevHash : hashes[skip - 1]!;
  const ours = shared === stream.number ? stream.hash : await storedHash(tx, stream, shared);
  // Rows that are here and that a loss record of theirs stands for, or the other way round: two histories.
  const straddles = skip < batch.records.length && shared < stream.number;
  if (ours === undefined || straddles || !sameHash(ours, theirs)) {
    if (shared === 0 && !straddles) throw wrongBeginning(batch);
    return await setAside(tx, stream, checked, cursor, nowMs);
  }

  const records = batch.records.slice(skip);
  if (records.length === 0) return { kind: "ack", cursor, added: 0, unreadable: 0 };
  if (stream.nextLink && rowsBeyondEnd(stream.nextLink, stream.hash, hashes.slice(skip)) > 0) {
    const id = known?.id ?? (await addStream(tx, agent, batch, 0, stream.hash));
    const fork = await setAside(tx, { ...stream, id }, checked, cursor, nowMs);
    return { ...fork, kind: "fork", message: beyondEnd(batch) };
  }
  const end = lastOf(batch);
  const id = known
    ? await moveStream(tx, known, end, batch.lastHash)
    : await addStream(tx, agent, batch, end, batch.lastHash);
  await insertMany(
    tx,
    { into: "records (stream, number, class, hash, body, received)", columns: 6 },
    records.map((row, index) => [id, row.number, row.class, hashes[skip + index]!, row.body, nowMs]),
  );
  await addLosses(tx, id, records, checked.publicKey, nowMs);
  const projected = project(records);
  await addProjections(
    tx,
    { agent, stream: id, epoch: batch.epoch, segment: batch.segment },
    projected,
    nextRun,
  );
  const now = cursorOf(batch, end, batch.lastHash);
  return { kind: "ack", cursor: now, added: records.length, unreadable: projected.unreadable };
}

function emptyStream(batch: RecordBatch, next: Uint8Array | null): Stream {
  // The link of a later segment is the last hash of the one before, whose rows may come after it: taken as told, kept
  // in `first_link`, and compared as those rows come (rowsBeyondEnd) and by `verify`.
  const link = batch.segment === 1 || batch.first !== 1 ? ZERO_HASH : batch.prevHash;
  return { id: null, number: 0, hash: link, forked: 0, nextLink: next };
}

function cursorOf(batch: RecordBatch, number: number, hash: Uint8Array): StreamCursor {
  return { epoch: batch.epoch, lane: batch.lane, segment: batch.segment, number, hash };
}

function streamName(batch: RecordBatch): string {
  return `stream (epoch ${batch.epoch}, lane ${batch.lane}, segment ${batch.segment})`;
}

function wrongBeginning(batch: RecordBatch): HoldfastError {
  return new HoldfastError(
    "invalid",
    `Row 1 of ${streamName(batch)} does not follow the zero hash, as the first row of segment 1 must. Nothing was kept`,
  );
}

function beyondEnd(batch: RecordBatch): string {
  return (
    `Rows up to ${lastOf(batch)} of ${streamName(batch)} go on after the row that segment ` +
    `${batch.segment + 1} follows: this agent's history has forked. They are kept beside it and nothing was overwritten; ` +
    "the agent must go on in a new epoch"
  );
}

async function findStream(tx: Queries, agent: string, batch: RecordBatch): Promise<Stream | undefined> {
  const [row] = await tx.all(
    `SELECT id, number, hash, forked,
       (SELECT first_link FROM streams AS later
         WHERE later.agent = streams.agent AND later.epoch = streams.epoch AND later.lane = streams.lane
           AND later.segment = streams.segment + 1) AS next_link
     FROM streams WHERE agent = ? AND epoch = ? AND lane = ? AND segment = ?`,
    [agent, batch.epoch, batch.lane, batch.segment],
  );
  if (!row) return undefined;
  const { id, number, hash, forked, next_link } = row as {
    id: bigint;
    number: bigint;
    hash: Uint8Array;
    forked: bigint;
    next_link: Uint8Array | null;
  };
  return { id, number: Number(number), hash, forked: Number(forked), nextLink: next_link };
}

async function nextLink(tx: Queries, agent: string, batch: RecordBatch): Promise<Uint8Array | null> {
  const [row] = await tx.all(
    "SELECT first_link FROM streams WHERE agent = ? AND epoch = ? AND lane = ? AND segment = ?",
    [agent, batch.epoch, batch.lane, batch.segment + 1],
  );
  return (row?.first_link as Uint8Array | undefined) ?? null;
}

/** Of row `number`, or of the one before the first; undefined where a loss record stands for it. */
async function storedHash(tx: Queries, stream: Stream, number: number): Promise<Uint8Array | undefined> {
  const [row] = await tx.all("SELECT hash FROM records WHERE stream = ? AND number = ?", [stream.id, number]);
  if (row) return row.hash as Uint8Array;
  if (number > 0) return undefined;
  const [link] = await tx.all("SELECT first_link FROM streams WHERE id = ?", [stream.id]);
  return link!.first_link as Uint8Array;
}

async function addStream(
  tx: Queries,
  agent: string,
  batch: RecordBatch,
  number: number,
  hash: Uint8Array,
): Promise<Value> {
  const [row] = await tx.all(
    `INSERT INTO streams (agent, epoch, lane, segment, number, hash, first_link, forked)
     VALUES (?, ?, ?, ?, ?, ?, ?, 0) RETURNING id`,
    [agent, batch.epoch, batch.lane, batch.segment, number, hash, batch.prevHash],
  );
  return row!.id as bigint;
}

async function moveStream(tx: Queries, stream: Stream, number: number, hash: Uint8Array): Promise<Value> {
  await tx.run("UPDATE streams SET number = ?, hash = ? WHERE id = ?", [number, hash, stream.id]);
  return stream.id;
}

/** Keeps the rows that differ from ours, and those after them, beside the stream. */
async function setAside(
  tx: Queries,
  stream: Stream,
  { batch, hashes }: CheckedBatch,
  cursor: StreamCursor,
  nowMs: number,
): Promise<IngestResult> {
  const stored = await tx.all(
    "SELECT number, hash FROM records WHERE stream = ? AND number >= ? ORDER BY number LIMIT ?",
    [stream.id, batch.first, batch.records.length],
  );
  const isHere = (at: number) =>
    Number(stored[at]!.number) === batch.records[at]!.number &&
    sameHash(stored[at]!.hash as Uint8Array, hashes[at]!);
  let from = 0;
  while (from < stored.length && isHere(from)) from++;
  const rows = batch.records
    .map((row, index): Value[] => {
      return [stream.id, row.number, hashes[index]!, row.class, row.body, nowMs];
    })
    .slice(from, from + Math.max(0, FORK_LIMIT - stream.forked));
  const kept = await insertMany(
    tx,
    {
      into: "forks (stream, number, hash, class, body, received)",
      columns: 6,
      tail: "ON CONFLICT (stream, number, hash) DO NOTHING",
    },
    rows,
  );
  await tx.run("UPDATE streams SET forked = forked + ? WHERE id = ?", [kept, stream.id]);
  const at = Math.min(startsOf(batch)[from] ?? batch.first, cursor.number);
  const message =
    `Row ${at} of ${streamName(batch)} is here with another hash: this agent's history has forked. Both versions ` +
    "are kept and nothing was overwritten; the agent must go on in a new epoch";
  return { kind: "fork", cursor, message };
}

const NEWER = (table: string) =>
  `WHERE ${table}.epoch <> excluded.epoch
      OR (excluded.segment, excluded.number) > (${table}.segment, ${table}.number)`;

const set = (columns: string[]) => columns.map((column) => `${column} = excluded.${column}`).join(", ");

const EVENTS = {
  into: "events (agent, source, id, type, subject, severity, time, stream, number)",
  columns: 9,
  tail: "ON CONFLICT (agent, source, id) DO NOTHING",
};

const RUNS = {
  into:
    "runs (id, agent, n, pipeline, rule, state, reason, event_source, event_id, created, started, ended, steps, " +
    "details, epoch, segment, number)",
  columns: 17,
  // A closed segment drains after fresher rows of the next one: an older state never replaces a newer one.
  tail: `ON CONFLICT (id, agent) DO UPDATE SET ${set(["n", "state", "reason", "started", "ended", "steps", "details", "epoch", "segment", "number"])} ${NEWER("runs")}`,
};

const STEPS = {
  into:
    "steps (agent, run, step, action, state, attempts, key, started, ended, output, error, reason, details, epoch, " +
    "segment, number)",
  columns: 16,
  tail: `ON CONFLICT (run, agent, step) DO UPDATE SET ${set(["state", "attempts", "started", "ended", "output", "error", "reason", "details", "epoch", "segment", "number"])} ${NEWER("steps")}`,
};

async function addProjections(
  tx: Queries,
  origin: Origin,
  projected: Projected,
  nextRun: () => number,
): Promise<void> {
  const { events, runs, steps } = projected;
  await insertMany(
    tx,
    EVENTS,
    events.map((row) => eventValues(origin, row)),
  );
  await insertMany(
    tx,
    RUNS,
    runs.map((row) => runValues(origin, row, nextRun())),
  );
  await insertMany(
    tx,
    STEPS,
    steps.map((row) => stepValues(origin, row)),
  );
}
