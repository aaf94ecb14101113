import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf, systemCode } from "../../core/errors.ts";
import { Histogram } from "../../core/histogram.ts";

export interface WriterOptions {
  /** Operations and bytes that wait at most; more are refused as `exhausted`. */
  maxWaiting: number;
  maxWaitingBytes: number;
  /** Operations and bytes that share one commit at most, so that none waits long for the others. */
  maxGroup: number;
  maxGroupBytes: number;
}

const DEFAULTS: WriterOptions = {
  maxWaiting: 50_000,
  maxWaitingBytes: 256 << 20,
  maxGroup: 256,
  maxGroupBytes: 8 << 20,
};

interface Job<Tx> {
  work: (tx: Tx) => Promise<unknown>;
  bytes: number;
  resolve: (value: any) => void;
  reject: (error: unknown) => void;
}

/** Begins a transaction, hands it to `group`, commits when that resolves and rolls back when it throws. */
export type Transact<Tx> = (
  group: (tx: Tx, isolated: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>) => Promise<void>,
) => Promise<void>;

/**
 * The only way to write: operations run one after the other, those that arrive together share one commit, and each is
 * answered after that commit. One that throws is undone by its savepoint and does not harm the others.
 */
export class WriterQueue<Tx> {
  readonly #transact: Transact<Tx>;
  readonly #clock: Pick<Clock, "mono">;
  readonly #limits: WriterOptions;
  #waiting: Job<Tx>[] = [];
  #waitingBytes = 0;
  #pumping: Promise<void> | undefined;
  #closed = false;
  readonly commitSeconds = new Histogram();
  operations = 0;
  /** Why the last transaction failed as a whole; null after one that committed. */
  problem: string | null = null;

  constructor(transact: Transact<Tx>, clock: Pick<Clock, "mono">, limits: Partial<WriterOptions> = {}) {
    this.#transact = transact;
    this.#clock = clock;
    this.#limits = { ...DEFAULTS, ...limits };
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** Runs `work` in a transaction; resolves with its result after the commit. `bytes` is about what it holds. */
  run<T>(work: (tx: Tx) => Promise<T>, bytes = 256): Promise<T> {
    if (this.#closed) {
      return Promise.reject(new HoldfastError("cancelled", "The hub's store is closed", { retryable: true }));
    }
    const { maxWaiting, maxWaitingBytes } = this.#limits;
    if (this.#waiting.length >= maxWaiting || this.#waitingBytes + bytes > maxWaitingBytes) {
      return Promise.reject(
        new HoldfastError(
          "exhausted",
          `The hub's store has ${this.#waiting.length} writes waiting (${this.#waitingBytes} bytes), its limit: ` +
            "try again later, and look at the hub's disk",
          { retryable: true },
        ),
      );
    }
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ work, bytes, resolve, reject });
      this.#waitingBytes += bytes;
      this.#pumping ??= this.#pump();
    });
  }

  /** Refuses new operations and resolves when the queued ones are answered. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#pumping;
  }

  async #pump(): Promise<void> {
    while (this.#waiting.length > 0) {
      // After the poll phase: whatever other connections have delivered meanwhile joins this commit.
      await new Promise<void>((resolve) => setImmediate(resolve));
      await this.#commit(this.#take());
    }
    this.#pumping = undefined;
  }

  #take(): Job<Tx>[] {
    const { maxGroup, maxGroupBytes } = this.#limits;
    let bytes = 0;
    let count = 0;
    while (count < this.#waiting.length && count < maxGroup) {
      bytes += this.#waiting[count]!.bytes;
      if (count > 0 && bytes > maxGroupBytes) break;
      count++;
    }
    const group = this.#waiting.splice(0, count);
    for (const job of group) this.#waitingBytes -= job.bytes;
    return group;
  }

  async #commit(group: Job<Tx>[]): Promise<void> {
    const began = this.#clock.mono();
    const settle: (() => void)[] = [];
    try {
      await this.#transact(async (tx, isolated) => {
        for (const job of group) {
          // Alone in its transaction an operation needs no savepoint: its failure rolls the whole back.
          const result = group.length === 1 ? await job.work(tx) : await attempt(job, isolated);
          settle.push(() => (isFailure(result) ? job.reject(result.error) : job.resolve(result)));
        }
      });
      this.problem = null;
      for (const answer of settle) answer();
      this.operations += group.length;
      this.commitSeconds.observe((this.#clock.mono() - began) / 1000);
    } catch (error) {
      // A refusal of a lone operation is an answer; anything else is the database's trouble.
      if (!(error instanceof HoldfastError)) this.problem = messageOf(error);
      for (const job of group) job.reject(error);
    }
  }
}

class Failure {
  readonly error: unknown;
  constructor(error: unknown) {
    this.error = error;
  }
}

function isFailure(value: unknown): value is Failure {
  return value instanceof Failure;
}

async function attempt<Tx>(
  job: Job<Tx>,
  isolated: <T>(work: (tx: Tx) => Promise<T>) => Promise<T>,
): Promise<unknown> {
  try {
    return await isolated(job.work);
  } catch (error) {
    // After these SQLite may have rolled the whole transaction back by itself: nobody in it may be told "committed".
    if (/^SQLITE_(FULL|IOERR|NOMEM|CORRUPT)/.test(systemCode(error) ?? "")) throw error;
    return new Failure(error);
  }
}
