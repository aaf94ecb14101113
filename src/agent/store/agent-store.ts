import type { Ids } from "../../core/ids.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import type { RecordBatch, StreamCursor } from "../../model/record.ts";
import type { OpenRun, RunRow } from "../../model/run.ts";
import type { Fault } from "../../storage/faults.ts";
import { StorageClient } from "../../storage/storage-client.ts";
import {
  type AcknowledgeCommand,
  type CommitSignal,
  type CountedRows,
  DEFAULT_RETENTION,
  type OpenCommand,
  type PackedRecords,
  type RenewEpochCommand,
  type Retention,
} from "./commands.ts";
import { packEvents } from "./commit-events.ts";
import type {
  AgentStore,
  EventCommit,
  EventCommitResult,
  RunChange,
  StoreFacts,
  StoreStats,
  StreamState,
} from "./port.ts";

export interface AgentStoreOptions {
  /** The database file; its folder is made when it is missing. */
  path: string;
  ids: Ids;
  /** Unix milliseconds by the host's clock. */
  wall: () => number;
  /** When given, a store that cannot go on tries again every second, so that it notices the end of the trouble by itself. */
  after?: (ms: number, callback: () => void) => () => void;
  retention?: Partial<Retention>;
  /** Address of the storage thread's module. */
  thread: string;
  /** For tests. */
  faults?: Fault[];
}

const PROBE_MS = 1000;
/** Operations after which history is trimmed when no acknowledgement has asked for it. */
const TRIM_EVERY = 5000;

/** The main side of the agent's store; the database is on a thread of its own. */
export class ThreadedAgentStore implements AgentStore {
  readonly #options: AgentStoreOptions;
  #client!: StorageClient;
  #facts!: StoreFacts;
  #problem: string | null = null;
  #outboxListeners: (() => void)[] = [];
  #healthListeners: ((problem: string | null) => void)[] = [];
  #trimming = false;
  #untrimmed = 0;
  #cancelProbe: (() => void) | undefined;
  #closing = false;

  constructor(options: AgentStoreOptions) {
    this.#options = options;
  }

  get facts(): StoreFacts {
    return this.#facts;
  }

  /** Why the store cannot go on, or null. */
  get problem(): string | null {
    return this.#problem;
  }

  async open(): Promise<void> {
    const { path, ids, wall, retention, thread, faults } = this.#options;
    const command: OpenCommand = {
      path,
      newEpoch: ids.hex(16),
      nowMs: wall(),
      retention: { ...DEFAULT_RETENTION, ...retention },
    };
    const opened = await StorageClient.open<StoreFacts>({
      worker: new Worker(thread),
      name: path,
      open: command,
      ...(faults ? { faults } : {}),
      onCommit: (signal, operations) => this.#committed(signal as CommitSignal | null, operations),
      onProblem: (problem) => this.#changeHealth(problem),
    });
    this.#client = opened.client;
    this.#facts = opened.facts;
  }

  async commitEvents(commit: EventCommit): Promise<EventCommitResult> {
    const { command, text } = packEvents(commit);
    return await this.#client.write("commitEvents", command, text);
  }

  async checkpoint(trigger: string): Promise<Json | undefined> {
    return await this.#client.read("checkpoint", trigger);
  }

  async ruleTimes(): Promise<Record<string, number>> {
    return await this.#client.read("ruleTimes");
  }

  async event(source: string, id: string): Promise<CloudEvent | null> {
    const body = await this.#client.read<string | null>("event", { source, id });
    return body === null ? null : (JSON.parse(body) as CloudEvent);
  }

  async eventsAfter(n: number, limit: number): Promise<{ n: number; body: string }[]> {
    return await this.#client.read("eventsAfter", { n, limit });
  }

  async lastEvent(): Promise<number> {
    return await this.#client.read("lastEvent");
  }

  async changeRun(change: RunChange): Promise<boolean> {
    return await this.#client.write("changeRun", change);
  }

  async openRuns(): Promise<OpenRun[]> {
    return await this.#client.read("openRuns");
  }

  async run(id: string): ReturnType<AgentStore["run"]> {
    return await this.#client.read("run", id);
  }

  async runs(limit: number): Promise<RunRow[]> {
    return await this.#client.read("runs", limit);
  }

  async outputCursor(output: string): Promise<number | undefined> {
    return await this.#client.read("outputCursor", output);
  }

  async setOutputCursor(output: string, n: number): Promise<void> {
    await this.#client.write("setOutputCursor", { output, n });
  }

  async streams(): Promise<StreamState[]> {
    return await this.#client.read("streams");
  }

  /** Throws `not_found` for a first row that was trimmed, `corrupt` for rows whose bytes contradict their hash. */
  async readBatch(
    lane: number,
    segment: number,
    first: number,
    maxRows: number,
    maxBytes: number,
  ): Promise<RecordBatch | null> {
    const args = [lane, segment, first, maxRows, maxBytes];
    const packed = await this.#client.read<PackedRecords | null>("readBatch", args);
    return packed && unpackRecords(packed);
  }

  async acknowledge(cursor: StreamCursor): Promise<void> {
    const hash = Buffer.from(cursor.hash).toString("hex");
    const command: AcknowledgeCommand = { ...cursor, hash };
    await this.#client.write("acknowledge", command);
    void this.trim();
  }

  async renewEpoch(
    reason: string,
    held: { lane: number; segment: number; number: number }[],
  ): Promise<string> {
    const epoch = this.#options.ids.hex(16);
    const command: RenewEpochCommand = { epoch, reason, held, nowMs: this.#options.wall() };
    await this.#client.write("renewEpoch", command);
    return epoch;
  }

  async setting(key: string): Promise<Json | undefined> {
    return await this.#client.read("setting", key);
  }

  async setSetting(key: string, value: Json): Promise<void> {
    await this.#client.write("setSetting", { key, value });
  }

  async stats(): Promise<StoreStats> {
    const counts = await this.#client.read<CountedRows>("counts");
    return { ...counts, commits: this.#client.commits, operations: this.#client.operations };
  }

  /** Deletes history beyond the retention, in small steps between other commits; one at a time. */
  async trim(): Promise<void> {
    if (this.#trimming) return;
    this.#trimming = true;
    this.#untrimmed = 0;
    try {
      while (!this.#closing && (await this.#client.write<boolean>("trim", null)));
    } catch {
      // It is tried again after the next acknowledgement; what stopped it is reported through onHealth.
    } finally {
      this.#trimming = false;
    }
  }

  onOutbox(listener: () => void): void {
    this.#outboxListeners.push(listener);
  }

  onHealth(listener: (problem: string | null) => void): void {
    this.#healthListeners.push(listener);
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#cancelProbe?.();
    await this.#client.close();
  }

  #committed(signal: CommitSignal | null, operations: number): void {
    this.#untrimmed += operations;
    if (this.#untrimmed >= TRIM_EVERY) void this.trim();
    if (!signal) return;
    if (signal.epoch !== this.#facts.epoch) this.#facts = { ...this.#facts, epoch: signal.epoch };
    if (signal.outbox) for (const listener of this.#outboxListeners) listener();
  }

  #changeHealth(problem: string | null): void {
    this.#problem = problem;
    for (const listener of this.#healthListeners) listener(problem);
    this.#cancelProbe?.();
    this.#cancelProbe = undefined;
    if (problem !== null && !this.#closing) this.#probeLater();
  }

  #probeLater(): void {
    this.#cancelProbe = this.#options.after?.(PROBE_MS, () => {
      const probe = this.#client.write("probe", { nowMs: this.#options.wall() });
      probe.catch(() => {
        if (this.#problem !== null && !this.#closing) this.#probeLater();
      });
    });
  }
}

function unpackRecords(packed: PackedRecords): RecordBatch {
  const { classes, lengths, bytes, ...batch } = packed;
  let at = 0;
  const records = lengths.map((length, i) => ({
    number: batch.first + i,
    class: classes[i]!,
    body: bytes.subarray(at, (at += length)),
  }));
  return { ...batch, records };
}
