import type { Ids } from "../../core/ids.ts";
import type { Fault } from "../../storage/faults.ts";
import { StorageClient } from "../../storage/storage-client.ts";
import type { StorageLink } from "../../storage/storage-link.ts";
import { type CommitSignal, DEFAULT_RETENTION, type OpenCommand, type Retention } from "./commands.ts";
import type { StoreFacts } from "./port.ts";

export interface AgentStoreOptions {
  /** The database file; its folder is made when it is missing. */
  path: string;
  ids: Ids;
  /** Unix milliseconds by the host's clock. */
  wall: () => number;
  /** When given, a store that cannot go on tries again every second, so that it notices the end of the trouble by itself. */
  after?: (ms: number, callback: () => void) => () => void;
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

  protected get client(): StorageClient {
    return this.#client;
  }

  async open(): Promise<void> {
    const { path, ids, wall, retention, link, faults } = this.#options;
    const command: OpenCommand = {
      path,
      newEpoch: ids.hex(16),
      nowMs: wall(),
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
