import type { Ids } from "../../core/ids.ts";
import type { Fault } from "../../storage/faults.ts";
import { StorageClient } from "../../storage/storage-client.ts";
import type { StorageLink } from "../../storage/storage-link.ts";
import type { CommitSignal, OpenCommand } from "./commands.ts";
import type { StoreFacts } from "./port.ts";
import { DEFAULT_RETENTION, type Retention } from "./retention.ts";
import { Trimming } from "./trimming.ts";
import type { Evicted } from "./outbox-stats.ts";
import type { TrimCommand, TrimResult } from "./trim-step.ts";

export interface AgentStoreOptions {
  /** The database file; its folder is made when it is missing. */
  path: string;
  ids: Ids;
  /** Unix milliseconds by the host's clock. */
  wall: () => number;
  /** When given, a store that cannot go on tries again every second, so that it notices the end of the trouble by itself. */
  after?: (ms: number, callback: () => void) => () => void;
  /** What history is kept by; without it the host's clock stands for both. */
  time?: { trusted(): number; mono(): number };
  retention?: Partial<Retention>;
  /** Where the database's program runs. */
  link: () => StorageLink;
  /** For tests. */
  faults?: Fault[];
}

const PROBE_MS = 1000;
/** Operations after which history is trimmed when no acknowledgement has asked for it. */
const TRIM_EVERY = 5000;

/** An open store as its main side sees it: health, announcements of commits, trimming, the end. */
export class StoreConnection {
  readonly #options: AgentStoreOptions;
  #client!: StorageClient;
  #facts!: StoreFacts;
  #problem: string | null = null;
  #outboxListeners: (() => void)[] = [];
  #evictedListeners: ((evicted: Evicted) => void)[] = [];
  #healthListeners: ((problem: string | null) => void)[] = [];
  readonly #trimming: Trimming;
  #untrimmed = 0;
  #cancelProbe: (() => void) | undefined;
  #closing = false;

  constructor(options: AgentStoreOptions) {
    this.#options = options;
    const { after } = options;
    this.#trimming = new Trimming({
      step: (begins) => this.#trimStep(begins),
      moveLog: () => this.#client.read("moveLog"),
      mono: () => this.#now().monoMs,
      ...(after ? { after } : {}),
    });
  }

  get facts(): StoreFacts {
    return this.#facts;
  }

  /** Why the store cannot go on, or null. */
  get problem(): string | null {
    return this.#problem;
  }

  protected get client(): StorageClient {
    return this.#client;
  }

  async open(): Promise<void> {
    const { path, ids, wall, retention, link, faults } = this.#options;
    const command: OpenCommand = {
      path,
      newEpoch: ids.hex(16),
      nowMs: wall(),
      trustedMs: this.#now().trustedMs,
      retention: { ...DEFAULT_RETENTION, ...retention },
    };
    const opened = await StorageClient.open<StoreFacts>({
      link: link(),
      name: path,
      open: command,
      ...(faults ? { faults } : {}),
      onCommit: (signal, operations) => this.#committed(signal as CommitSignal | null, operations),
      onProblem: (problem) => this.#changeHealth(problem),
    });
    this.#client = opened.client;
    this.#facts = opened.facts;
  }

  /** Deletes history beyond the retention, in small steps between other commits; one at a time. */
  async trim(): Promise<void> {
    this.#untrimmed = 0;
    await this.#trimming.run();
  }

  async #trimStep(begins: boolean): Promise<TrimResult> {
    const result = await this.#client.write<TrimResult>("trim", { ...this.#now(), begins });
    if (result.evicted) for (const listener of this.#evictedListeners) listener(result.evicted);
    return result;
  }

  #now(): Omit<TrimCommand, "begins"> {
    const { wall, time } = this.#options;
    return { trustedMs: time?.trusted() ?? wall(), monoMs: time?.mono() ?? wall() };
  }

  onOutbox(listener: () => void): void {
    this.#outboxListeners.push(listener);
  }

  onEvicted(listener: (evicted: Evicted) => void): void {
    this.#evictedListeners.push(listener);
  }

  onHealth(listener: (problem: string | null) => void): void {
    this.#healthListeners.push(listener);
  }

  async close(): Promise<void> {
    this.#closing = true;
    this.#trimming.stop();
    this.#cancelProbe?.();
    await this.#client.close();
  }

  #committed(signal: CommitSignal | null, operations: number): void {
    this.#untrimmed += operations;
    if (this.#untrimmed >= TRIM_EVERY || signal?.full) void this.trim();
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
