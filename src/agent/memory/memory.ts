import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { Json } from "../../model/json.ts";
import {
  checkMemoryKey,
  checkoutExpired,
  checkTtl,
  type MemoryCheckout,
  type MemoryEntry,
  type MemoryListing,
  memoryText,
} from "../../model/memory.ts";
import { CheckoutQueue, type Hold } from "./checkout-queue.ts";
import type { MemoryStorePort } from "./ports.ts";
import { MemorySnapshot } from "./snapshot.ts";

const SWEEP_EVERY_MS = 60_000;

export interface MemoryOptions {
  store: MemoryStorePort;
  clock: Clock;
  log: Logger;
}

/** A checkout and its turn, which its holder gives back. */
export type HeldCheckout = MemoryCheckout & { hold: Hold };

/**
 * Durable JSON values that plugins, scripts, rules and people share, by namespace and key (rows G-10, G-11). Readers never
 * wait. Who wants to change a value depending on what it was checks it out, one after the other.
 */
export class Memory {
  readonly snapshot: MemorySnapshot;
  readonly #options: MemoryOptions;
  readonly #queue: CheckoutQueue;
  #cancelSweep = () => {};
  #stopped = false;

  constructor(options: MemoryOptions) {
    this.#options = options;
    this.#queue = new CheckoutQueue(options.clock);
    this.snapshot = new MemorySnapshot(() => options.clock.trusted());
  }

  /** Frees what was held when the agent last ended. */
  async start(): Promise<void> {
    await this.#options.store.memoryFree();
    this.#sweepLater();
  }

  stop(): void {
    this.#stopped = true;
    this.#cancelSweep();
  }

  /** Keeps a namespace at hand for expressions. */
  async watch(namespace: string): Promise<void> {
    if (this.snapshot.has(namespace)) return;
    this.snapshot.begin(namespace);
    this.snapshot.fill(namespace, await this.#options.store.memoryOf(namespace));
  }

  async get(namespace: string, key: string): Promise<MemoryEntry | null> {
    return await this.#options.store.memoryGet(namespace, checkMemoryKey(key), this.#now());
  }

  /** By namespace and key. */
  async list(
    filter: { namespace: string | null; prefix: string; after: [namespace: string, key: string] },
    limit: number,
  ): Promise<MemoryListing[]> {
    return await this.#options.store.memoryList({ ...filter, limit, nowMs: this.#now() });
  }

  /** Whoever has checked it out is told so at the update. */
  async set(namespace: string, key: string, value: Json, ttlMs: number | null): Promise<void> {
    const write = this.#write({ namespace, key: checkMemoryKey(key) }, value, ttlMs, null);
    const written = this.#put(write);
    this.#queue.takeAway(idOf(namespace, key));
    await written;
  }

  /** False when there was none. */
  async delete(namespace: string, key: string): Promise<boolean> {
    const { store } = this.#options;
    const at = { namespace, key: checkMemoryKey(key), nowMs: this.#now(), token: null };
    const deleted = store.memoryDelete(at).then((existed) => {
      this.snapshot.remove(namespace, key);
      return existed;
    });
    this.#queue.takeAway(idOf(namespace, key));
    return await deleted;
  }

  /**
   * The value, and the right to change it until it is given back. Waits for its turn, `waitMs` at most (`busy`). While others
   * wait, a turn ends after two seconds.
   */
  async checkOut(namespace: string, key: string, waitMs: number, signal: AbortSignal): Promise<HeldCheckout> {
    const id = idOf(namespace, checkMemoryKey(key));
    const hold = await this.#queue.take(id, `memory key ${key} of namespace ${namespace}`, waitMs, signal);
    try {
      const { store } = this.#options;
      const taken = await store.memoryCheckOut({ namespace, key, nowMs: this.#now() });
      signal.throwIfAborted();
      this.#queue.given(hold, taken.token);
      return { ...taken, hold };
    } catch (error) {
      this.#queue.giveBack(hold);
      throw error;
    }
  }

  /** Changes the value and gives the turn back. Throws `expired` when the turn had passed: nothing was written. */
  async update(hold: Hold, at: MemoryAt, value: Json, ttlMs: number | null): Promise<void> {
    const { namespace, key } = at;
    if (hold.over || hold.id !== idOf(namespace, key)) throw checkoutExpired(key);
    // Whoever is next is given what this write leaves: the store does both in this order.
    const written = this.#put(this.#write(at, value, ttlMs, hold.token));
    this.#queue.giveBack(hold);
    await written;
  }

  /** Gives the turn back with nothing changed; false when it had passed. */
  async checkIn(hold: Hold, { namespace, key }: MemoryAt): Promise<boolean> {
    if (hold.over || hold.token === null) return false;
    const freed = this.#options.store.memoryCheckIn(namespace, key, hold.token);
    this.#queue.giveBack(hold);
    return await freed;
  }

  /** Throws before anything is sent. */
  #write({ namespace, key }: MemoryAt, value: Json, ttlMs: number | null, token: number | null): Write {
    const text = memoryText(key, value);
    const nowMs = this.#now();
    const ttl = checkTtl(ttlMs);
    const expiresMs = ttl === null ? null : Math.round(nowMs + ttl);
    return { namespace, key, text, expiresMs, nowMs, token };
  }

  async #put(write: Write): Promise<void> {
    await this.#options.store.memoryPut(write).then(() => {
      const { namespace, key, text, expiresMs } = write;
      this.snapshot.put(namespace, key, JSON.parse(text) as Json, expiresMs);
    });
  }

  #now(): number {
    return this.#options.clock.trusted();
  }

  #sweepLater(): void {
    const { clock, store, log } = this.#options;
    if (this.#stopped) return;
    this.#cancelSweep = clock.after(SWEEP_EVERY_MS, () => {
      store
        .memorySweep(this.#now())
        .catch((error: unknown) =>
          log.debug(`what is over in the memory was not removed: ${messageOf(error)}`),
        )
        .finally(() => this.#sweepLater());
    });
  }
}

type Write = Parameters<MemoryStorePort["memoryPut"]>[0];

export interface MemoryAt {
  namespace: string;
  key: string;
}

/** Neither holds a space. */
function idOf(namespace: string, key: string): string {
  return `${namespace} ${key}`;
}
