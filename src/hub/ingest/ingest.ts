import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import { Histogram } from "../../core/histogram.ts";
import type { Logger } from "../../core/logger.ts";
import type { MetricFamily } from "../../core/metrics.ts";
import { RECORD_CLASSES, type RecordBatch, type StreamCursor } from "../../model/record.ts";
import { hasLoss, lastOf, parseLoss } from "../../protocol/loss.ts";
import { checkLossSignatures } from "./loss-signature.ts";

export type IngestOutcome =
  | { kind: "ack"; cursor: StreamCursor; added?: number; unreadable?: number }
  | { kind: "gap"; cursor: StreamCursor }
  | { kind: "fork"; cursor: StreamCursor; message: string };

/** What ingest asks of the store: batches are committed in the order of the calls. */
export interface IngestStore {
  ingest(agent: string, batch: RecordBatch, nowMs: number, publicKey?: Uint8Array): Promise<IngestOutcome>;
}

export interface IngestOptions {
  store: IngestStore;
  clock: Clock;
  log: Logger;
}

const MAX_ROWS = 10_000;
const HASH_BYTES = 32;
const NO_KEY: Uint8Array = new Uint8Array();
const CLASS_NAMES = new Map<number, string>(
  Object.entries(RECORD_CLASSES).map(([name, number]) => [number, name]),
);

/** Takes agents' batches into the store, counts them, and tells of what should not happen. */
export class Ingest {
  readonly #options: IngestOptions;
  readonly #seconds = new Histogram();
  readonly #records = new Map<string, number>();
  readonly #lost = new Map<string, number>();
  readonly #counts = { duplicates: 0, gaps: 0, forks: 0, refused: 0, unreadable: 0 };

  constructor(options: IngestOptions) {
    this.#options = options;
  }

  /**
   * Resolves after the commit. Throws `invalid` for a batch that is damaged or malformed, or has a loss record that
   * `publicKey` (of the session's certificate, SPKI, DER) did not sign; `exhausted` when the store cannot keep up.
   */
  async records(agent: string, batch: RecordBatch, publicKey = NO_KEY): Promise<IngestOutcome> {
    const { store, clock } = this.#options;
    const began = clock.mono();
    try {
      checkShape(batch);
      if (hasLoss(batch)) checkLossSignatures(agent, batch, publicKey);
      // Nothing is awaited before this call: the order of calls is the order of commits.
      const outcome = await store.ingest(agent, batch, clock.trusted(), publicKey);
      this.#seconds.observe((clock.mono() - began) / 1000);
      this.#note(agent, batch, outcome);
      return outcome;
    } catch (error) {
      this.#counts.refused++;
      throw error;
    }
  }

  metrics(): MetricFamily[] {
    const { duplicates, gaps, forks, refused, unreadable } = this.#counts;
    const total = (name: string, help: string, value: number): MetricFamily => {
      return { name: `holdfast_hub_${name}_total`, help, type: "counter", values: [{ value }] };
    };
    return [
      {
        name: "holdfast_hub_records_ingested_total",
        help: "Records committed, by class",
        type: "counter",
        values: [...this.#records].map(([name, value]) => ({ labels: { class: name }, value })),
      },
      {
        name: "holdfast_hub_records_lost_total",
        help: "Records that loss records of agents stand for, by class",
        type: "counter",
        values: [...this.#lost].map(([name, value]) => ({ labels: { class: name }, value })),
      },
      total("records_duplicate", "Records that came again unchanged and were dropped", duplicates),
      total("records_unreadable", "Records kept whose body lists cannot show", unreadable),
      total("ingest_gaps", "Batches that began after a number that is not here", gaps),
      total("ingest_forks", "Batches with another hash for a number that is here", forks),
      total("ingest_refused", "Batches refused as damaged, or because the store could not keep up", refused),
      {
        name: "holdfast_hub_ingest_seconds",
        help: "From a batch's arrival to its commit",
        type: "histogram",
        histogram: this.#seconds,
      },
    ];
  }

  #note(agent: string, batch: RecordBatch, outcome: IngestOutcome): void {
    const { log } = this.#options;
    const stream = { agent, epoch: batch.epoch, lane: batch.lane, segment: batch.segment };
    if (outcome.kind === "gap") {
      this.#counts.gaps++;
      log.warn("gap in an agent's stream: asked to send again", {
        ...stream,
        expected: outcome.cursor.number + 1,
        first: batch.first,
      });
      return;
    }
    if (outcome.kind === "fork") {
      this.#counts.forks++;
      log.error(outcome.message, { ...stream, cursor: outcome.cursor.number, first: batch.first });
      return;
    }
    const added = outcome.added ?? 0;
    this.#noteLosses(stream, added === 0 ? [] : batch.records.slice(-added));
    this.#counts.duplicates += batch.records.length - added;
    for (const record of added === 0 ? [] : batch.records.slice(-added)) {
      const name = CLASS_NAMES.get(record.class) ?? "other";
      this.#records.set(name, (this.#records.get(name) ?? 0) + 1);
    }
    if (!outcome.unreadable) return;
    this.#counts.unreadable += outcome.unreadable;
    log.warn("records that cannot be shown were kept", { ...stream, records: outcome.unreadable });
  }

  #noteLosses(stream: object, records: RecordBatch["records"]): void {
    for (const { class: recordClass, body } of records) {
      if (recordClass !== RECORD_CLASSES.loss) continue;
      const { first, last, counts, reason } = parseLoss(body);
      for (const [number, rows] of Object.entries(counts)) {
        const name = CLASS_NAMES.get(Number(number)) ?? "other";
        this.#lost.set(name, (this.#lost.get(name) ?? 0) + rows);
      }
      this.#options.log.warn("an agent has lost rows that the hub never had", {
        ...stream,
        first,
        last,
        reason,
      });
    }
  }
}

/** What the chain alone does not say of a batch from outside. */
function checkShape(batch: RecordBatch): void {
  const wrong = problemOf(batch);
  if (wrong === undefined) return;
  throw new HoldfastError("invalid", `A batch of records was refused: ${wrong}. Nothing of it was kept`);
}

function problemOf({
  records,
  first,
  lane,
  segment,
  epoch,
  prevHash,
  lastHash,
}: RecordBatch): string | undefined {
  if (records.length === 0) return "it has no rows";
  if (records.length > MAX_ROWS) return `it has ${records.length} rows, ${MAX_ROWS} are allowed`;
  if (!isCount(first) || !isCount(first + records.length) || !isCount(lastOf({ records }) + 1))
    return "its numbers are out of range";
  if (!isCount(lane) || !isCount(segment)) return "its lane or segment is out of range";
  if (epoch.length < 1 || epoch.length > 64) return "its epoch must have 1 to 64 characters";
  if (prevHash.length !== HASH_BYTES || lastHash.length !== HASH_BYTES) {
    return `its hashes must have ${HASH_BYTES} bytes`;
  }
  const classes = records.every((row) => Number.isInteger(row.class) && row.class >= 0 && row.class <= 255);
  return classes ? undefined : "a record's class is out of range";
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 1;
}
