import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import type { PipelineDefinition, StepDefinition } from "../../model/pipeline.ts";
import { LANES, type NewRecord, RECORD_CLASSES, type RecordBatch, ZERO_HASH } from "../../model/record.ts";
import type { NewRun } from "../../model/run-build.ts";
import type { RunRow, StepRow } from "../../model/run.ts";
import { chainHashes } from "../../protocol/chain.ts";
import { lastOf } from "../../protocol/loss.ts";
import type { ThreadedAgentStore } from "./agent-store.ts";
import { openAgentStore } from "./open-agent-store.ts";
import type { Cap, SentCap } from "./retention.ts";
import type { AgentStoreOptions } from "./store-connection.ts";
import type { AgentStore, EventCommit } from "./port.ts";

/** What the store's tests share. Not imported by production code. */
export const SOURCE = "urn:holdfast:agent:test/app";

export interface Fixture {
  folder: string;
  path: string;
  open(options?: Partial<AgentStoreOptions>): Promise<ThreadedAgentStore>;
  /** Closes what is open and removes the folder. */
  end(): Promise<void>;
}

export function fixture(parent = tmpdir()): Fixture {
  const folder = mkdtempSync(join(parent, "holdfast-store-"));
  const path = join(folder, "agent.db");
  const opened: ThreadedAgentStore[] = [];
  return {
    folder,
    path,
    async open(options = {}) {
      const store = await openAgentStore({
        path,
        ids: systemIds(),
        wall: () => systemClock().wall(),
        ...options,
      });
      opened.push(store);
      return store;
    },
    async end() {
      for (const store of opened) await store.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A bound by count alone. */
export function keep(rows: number): Cap {
  return { keep: rows, ageMs: Number.MAX_SAFE_INTEGER };
}

/** Of acknowledged rows, only a bound by count. */
export function sent(rows: number): SentCap {
  return { rows, ageMs: Number.MAX_SAFE_INTEGER, bytes: Number.MAX_SAFE_INTEGER, ends: 1 };
}

export function eventOf(id: string, data: unknown = { line: "hello" }) {
  const event = {
    specversion: "1.0",
    id,
    source: SOURCE,
    type: "log.line",
    time: "2026-11-21T04:30:00.000Z",
    data,
  };
  return { source: SOURCE, id, type: "log.line", timeMs: 1_795_235_400_000, body: JSON.stringify(event) };
}

export function commitOf(ids: string[], more: Partial<EventCommit> = {}): EventCommit {
  const events = ids.map((id) => eventOf(id));
  return { trigger: "app", events, runs: [], checkpoint: undefined, recordedMs: 1_795_235_400_001, ...more };
}

const STEP: StepDefinition = {
  id: "first",
  work: "action",
  action: "exec",
  needs: [],
  when: null,
  foreach: null,
  with: {},
  timeoutMs: 1000,
  deadlineMs: null,
  retry: { attempts: 1, kind: "fixed", initialMs: 0, maxMs: 0 },
  effect: "idempotent",
  undo: null,
  exclusive: null,
  breaker: null,
  approval: null,
};

export const DEFINITION: PipelineDefinition = {
  name: "react",
  namespace: "default",
  description: "",
  params: [],
  concurrency: 1,
  concurrencyByKey: null,
  priority: 0,
  deadlineMs: null,
  warnAfterMs: null,
  exclusive: null,
  sideEffectsPerHour: null,
  output: null,
  steps: [STEP, { ...STEP, id: "second", needs: ["first"] }],
  onFailure: [],
  finally: [],
};

export function stepOf(runId: string, stepId: string, position: number): StepRow {
  return {
    runId,
    stepId,
    part: "steps",
    position,
    state: position === 0 ? "queued" : "waiting",
    waits: position === 0 ? null : "needs",
    attempts: 0,
    unknowns: 0,
    fence: 0,
    notBeforeMs: 0,
    startedMs: null,
    endedMs: null,
    output: null,
    error: null,
    reason: null,
    extra: null,
  };
}

export function runRecordOf(id: string): NewRecord {
  return { lane: LANES.results, class: RECORD_CLASSES.run, body: JSON.stringify({ id }) };
}

export function startOf(id: string, eventId: string | null, more: Partial<RunRow> = {}): NewRun {
  const run: RunRow = {
    id,
    pipeline: "react",
    definition: "hash-of-react",
    rule: "errors",
    starter: { kind: "rule", by: "errors" },
    eventSource: eventId === null ? null : SOURCE,
    eventId,
    params: { level: 3 },
    priority: 0,
    concurrencyKey: null,
    parent: null,
    retryOf: null,
    state: "queued",
    reason: null,
    stop: null,
    deadlineMs: null,
    output: null,
    createdMs: 5,
    startedMs: null,
    endedMs: null,
    ...more,
  };
  const steps = [stepOf(id, "first", 0), stepOf(id, "second", 1)];
  return { run, steps, definition: DEFINITION, records: [runRecordOf(id)] };
}

/** All rows of a lane from `first` on; throws unless their chain is whole. */
export async function readLane(store: AgentStore, lane: number, first = 1): Promise<string[]> {
  const bodies: string[] = [];
  let previous: Uint8Array | undefined = first === 1 ? ZERO_HASH : undefined;
  for (;;) {
    const batch = await store.readBatch(lane, 1, first, 300, 1_000_000);
    if (!batch) return bodies;
    checkChain(batch, previous);
    previous = batch.lastHash;
    for (const record of batch.records) bodies.push(new TextDecoder().decode(record.body));
    first = lastOf(batch) + 1;
  }
}

function checkChain(batch: RecordBatch, previous: Uint8Array | undefined): void {
  const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
  if (previous && !same(batch.prevHash, previous)) throw new Error("the batch does not join the one before");
  const last = chainHashes(batch.prevHash, batch.records).at(-1)!;
  if (!same(last, batch.lastHash)) throw new Error("the chain of the batch is broken");
}

export function idsOf(bodies: string[]): string[] {
  const parsed = bodies.map((body) => JSON.parse(body) as { id?: string });
  // A loss record is no event.
  return parsed.flatMap(({ id }) => (id === undefined ? [] : [id]));
}

export function numbered(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${prefix}-${i}`);
}

/**
 * What a promise rejects with. Bun's `expect(…).rejects` waits inside the current task, and a Worker's next message does not
 * come in while the handler of the one before is still on the stack.
 */
export async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("it did not fail");
}
