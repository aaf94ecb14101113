import { LANES, RECORD_CLASSES, type RecordBatch, ZERO_HASH } from "../../model/record.ts";
import { chainHashes } from "../../protocol/chain.ts";

/** Builds the batches of one stream as an agent would, for tests and measurements. */
export class StreamBuilder {
  readonly epoch: string;
  readonly lane: number;
  readonly segment: number;
  #number: number;
  #hash: Uint8Array;

  constructor(epoch = "e1", lane: number = LANES.events, segment = 1, number = 0, hash = ZERO_HASH) {
    this.epoch = epoch;
    this.lane = lane;
    this.segment = segment;
    this.#number = number;
    this.#hash = hash;
  }

  /** A stream that goes on from here by itself: the beginning of a fork. */
  copy(): StreamBuilder {
    return new StreamBuilder(this.epoch, this.lane, this.segment, this.#number, this.#hash);
  }

  next(bodies: { class?: number; body: unknown }[]): RecordBatch {
    const first = this.#number + 1;
    const records = bodies.map((row, index) => ({
      number: first + index,
      class: row.class ?? RECORD_CLASSES.event,
      body: Buffer.from(typeof row.body === "string" ? row.body : JSON.stringify(row.body)),
    }));
    const prevHash = this.#hash;
    this.#hash = chainHashes(prevHash, records).at(-1)!;
    this.#number += records.length;
    const { epoch, lane, segment } = this;
    return { epoch, lane, segment, first, prevHash, lastHash: this.#hash, records };
  }
}

export function joined(a: RecordBatch, b: RecordBatch): RecordBatch {
  return { ...a, lastHash: b.lastHash, records: [...a.records, ...b.records] };
}

export function eventBody(id: string, extra: Record<string, unknown> = {}) {
  return {
    specversion: "1.0",
    id,
    source: "urn:holdfast:agent:web-01/front",
    type: "probe.down",
    time: "2026-11-21T00:00:00Z",
    subject: "http://127.0.0.1:8080/",
    severity: "warning",
    data: { failures: 3, text: "x".repeat(120) },
    ...extra,
  };
}

export function events(prefix: string, count: number, extra?: Record<string, unknown>) {
  return Array.from({ length: count }, (_, index) => ({ body: eventBody(`${prefix}-${index}`, extra) }));
}

export function runBody(id: string, state: string, extra: Record<string, unknown> = {}) {
  return {
    id,
    pipeline: "restart-front",
    rule: "restart",
    event: { source: "urn:holdfast:agent:web-01/front", id: "a-0" },
    state,
    reason: null,
    createdMs: 1000,
    startedMs: null,
    endedMs: null,
    steps: [
      { id: "restart", action: "exec", needs: [], part: "steps", effect: "idempotent" },
      { id: "check", action: "http", needs: ["restart"], part: "steps", effect: "at-most-once" },
    ],
    ...extra,
  };
}

export function stepBody(run: string, step: string, state: string, extra: Record<string, unknown> = {}) {
  return {
    run,
    step,
    action: "exec",
    state,
    attempts: 1,
    key: `${run}/${step}`,
    startedMs: 1100,
    endedMs: null,
    output: null,
    error: null,
    reason: null,
    ...extra,
  };
}
