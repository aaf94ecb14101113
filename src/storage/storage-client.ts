import { HoldfastError } from "../core/errors.ts";
import type { Fault } from "./faults.ts";
import { fromErrorFrame } from "./storage-error.ts";
import {
  type FromThread,
  type PackedWrite,
  packBatch,
  type Result,
  type ToThread,
} from "./storage-frames.ts";
import type { StorageLink } from "./storage-link.ts";

export interface StorageClientOptions {
  link: StorageLink;
  /** For messages. */
  name: string;
  /** Handed to the program that the thread opens. */
  open: unknown;
  faults?: Fault[];
  /** Called after each batch with what the program tells of its commit (null: nothing). */
  onCommit: (signal: unknown, operations: number) => void;
  /** Called when the state of the storage changes: why it cannot go on, or null when it can again. */
  onProblem: (problem: string | null) => void;
}

interface Waiting {
  resolve: (value: never) => void;
  reject: (error: unknown) => void;
}

/** One transaction holds at most this many operations and about this many characters. */
const MAX_OPERATIONS = 4096;
const MAX_BATCH_CHARS = 8 * 1024 * 1024;
/** Batches on their way: while the thread commits one the next already lies in its mailbox. */
const MAX_IN_FLIGHT = 2;
const MAX_QUEUED_CHARS = 64 * 1024 * 1024;
const MAX_QUEUED = 65_536;
const MAX_READS = 4096;

/**
 * The main side of a storage thread. Writes gather while a batch is being committed and go out together (group commit);
 * each resolves after the commit that holds it. Reads see committed data only.
 */
export class StorageClient {
  readonly #options: StorageClientOptions;
  #queue: (PackedWrite & Waiting)[] = [];
  #queuedChars = 0;
  #inFlight: Waiting[][] = [];
  readonly #reads = new Map<number, Waiting>();
  #nextRead = 0;
  #problem: string | null = null;
  #ended: HoldfastError | undefined;
  readonly #opened = Promise.withResolvers<unknown>();
  readonly #closed = Promise.withResolvers<void>();
  #closing = false;
  #commits = 0;
  #operations = 0;

  /** Resolves when the thread has opened its database, with what the program says of it. */
  static async open<Facts>(options: StorageClientOptions): Promise<{ client: StorageClient; facts: Facts }> {
    const client = new StorageClient(options);
    try {
      return { client, facts: (await client.#opened.promise) as Facts };
    } catch (error) {
      options.link.terminate();
      throw error;
    }
  }

  private constructor(options: StorageClientOptions) {
    this.#options = options;
    options.link.onmessage = (event) => this.#receive(event.data);
    options.link.onerror = (event) => {
      event.preventDefault();
      this.#end(new HoldfastError("failed", `${options.name}: the storage thread died: ${event.message}`));
    };
    this.#post({ kind: "open", options: options.open, faults: options.faults ?? [] });
  }

  get commits(): number {
    return this.#commits;
  }

  get operations(): number {
    return this.#operations;
  }

  /** `args` must be JSON; long strings go in `text`, which is handed over without being parsed. */
  write<T>(operation: string, args: unknown, text = ""): Promise<T> {
    if (this.#ended) return Promise.reject(this.#ended);
    const packed = { operation, args: JSON.stringify(args), text };
    const chars = packed.args.length + text.length;
    if (this.#queue.length >= MAX_QUEUED || this.#queuedChars + chars > MAX_QUEUED_CHARS) {
      const message = `${this.#options.name}: ${operation}: ${this.#queue.length} writes wait already, the disk does not keep up`;
      return Promise.reject(new HoldfastError("exhausted", message, { retryable: true }));
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ ...packed, resolve, reject });
      this.#queuedChars += chars;
      this.#send();
    });
  }

  read<T>(operation: string, args: unknown = null): Promise<T> {
    if (this.#ended) return Promise.reject(this.#ended);
    if (this.#reads.size >= MAX_READS) {
      const message = `${this.#options.name}: ${operation}: ${MAX_READS} reads wait already`;
      return Promise.reject(new HoldfastError("exhausted", message, { retryable: true }));
    }
    return new Promise((resolve, reject) => {
      const id = this.#nextRead++;
      this.#reads.set(id, { resolve, reject });
      this.#post({ kind: "read", id, operation, args });
    });
  }

  /** Commits what is queued, closes the database and ends the thread. */
  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      if (this.#ended) this.#closed.resolve();
      this.#ended ??= new HoldfastError("cancelled", `${this.#options.name} is closed`);
      this.#closeWhenIdle();
    }
    return this.#closed.promise;
  }

  #send(): void {
    while (this.#queue.length > 0 && this.#inFlight.length < MAX_IN_FLIGHT) {
      // With something under way a small batch is better left to grow.
      if (this.#inFlight.length > 0 && this.#queuedChars < MAX_BATCH_CHARS / 32) return;
      this.#post(packBatch(this.#take()));
    }
  }

  #take(): PackedWrite[] {
    let count = 0;
    let chars = 0;
    for (const write of this.#queue) {
      const size = write.args.length + write.text.length;
      if (count > 0 && (count >= MAX_OPERATIONS || chars + size > MAX_BATCH_CHARS)) break;
      count++;
      chars += size;
    }
    const batch = this.#queue.splice(0, count);
    this.#queuedChars -= chars;
    this.#inFlight.push(batch);
    return batch;
  }

  #receive(message: FromThread): void {
    switch (message.kind) {
      case "opened":
        return this.#opened.resolve(message.facts);
      case "refused":
        return this.#opened.reject(fromErrorFrame(message.error));
      case "committed":
        return this.#committed(message);
      case "read": {
        const waiting = this.#reads.get(message.id);
        this.#reads.delete(message.id);
        if (waiting) settle(waiting, message.result);
        return this.#setProblem(message.problem);
      }
      case "closed":
        this.#options.link.terminate();
        if (message.error) return this.#closed.reject(fromErrorFrame(message.error));
        return this.#closed.resolve();
    }
  }

  #committed(message: Extract<FromThread, { kind: "committed" }>): void {
    const batch = this.#inFlight.shift() ?? [];
    this.#send();
    this.#commits = message.commits;
    this.#operations += batch.length;
    for (let i = 0; i < batch.length; i++) settle(batch[i]!, message.results[i]!);
    this.#setProblem(message.problem);
    this.#options.onCommit(message.signal, batch.length);
    this.#closeWhenIdle();
  }

  #closeWhenIdle(): void {
    if (this.#closing && this.#queue.length === 0 && this.#inFlight.length === 0)
      this.#post({ kind: "close" });
  }

  #setProblem(problem: string | null): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#options.onProblem(problem);
  }

  #end(error: HoldfastError): void {
    this.#ended = error;
    this.#opened.reject(error);
    const waiting = [...this.#inFlight.flat(), ...this.#queue, ...this.#reads.values()];
    this.#inFlight = [];
    this.#queue = [];
    this.#reads.clear();
    for (const item of waiting) item.reject(error);
    this.#setProblem(error.message);
    if (this.#closing) this.#closed.resolve();
    this.#options.link.terminate();
  }

  #post(message: ToThread): void {
    this.#options.link.postMessage(message);
  }
}

function settle(waiting: Waiting, result: Result): void {
  if (result.ok) waiting.resolve(result.value as never);
  else waiting.reject(fromErrorFrame(result.error));
}
