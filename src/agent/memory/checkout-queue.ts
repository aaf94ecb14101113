import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";

/** So long a holder keeps a key that others wait for. */
export const HOLD_MS = 2000;
const MAX_WAITERS = 1000;
/** Keys that are held at once. */
const MAX_HELD = 10_000;

/** Whose turn it is with one key. */
export class Hold {
  readonly id: string;
  /** Null until the store has given it. */
  token: number | null = null;
  /** Its turn has passed. */
  over = false;
  /** Somebody waits: its time runs. */
  ends = false;
  cancelEnd = () => {};

  constructor(id: string) {
    this.id = id;
  }
}

interface Waiter {
  hold: Hold;
  granted(): void;
}

interface Slot {
  hold: Hold;
  waiters: Waiter[];
}

/**
 * Turns with keys, first come, first served. A holder has its turn until it gives it back; once somebody waits, for HOLD_MS at
 * most. What keeps a late holder from writing is the store, by the token.
 */
export class CheckoutQueue {
  readonly #clock: Clock;
  readonly #slots = new Map<string, Slot>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves when it is the caller's turn. Rejects with `busy` after `waitMs`, and with the signal's reason. */
  async take(id: string, what: string, waitMs: number, signal: AbortSignal): Promise<Hold> {
    signal.throwIfAborted();
    const hold = new Hold(id);
    const slot = this.#slots.get(id);
    if (!slot) {
      if (this.#slots.size >= MAX_HELD)
        throw new HoldfastError("exhausted", `${MAX_HELD} keys of the memory are checked out`);
      this.#slots.set(id, { hold, waiters: [] });
      return hold;
    }
    if (slot.waiters.length >= MAX_WAITERS)
      throw new HoldfastError("busy", `${MAX_WAITERS} wait for ${what} already`);
    await this.#wait(slot, hold, what, waitMs, signal);
    return hold;
  }

  /** The store has given it: from here on its time runs. */
  given(hold: Hold, token: number): void {
    hold.token = token;
    const slot = this.#slots.get(hold.id);
    if (slot?.hold === hold) this.#watch(slot);
  }

  /** The next one gets it. Nothing happens when it is not the holder's turn any more. */
  giveBack(hold: Hold): void {
    const slot = this.#slots.get(hold.id);
    if (slot?.hold === hold) this.#next(slot);
  }

  /** Whoever holds it holds it no more. */
  takeAway(id: string): void {
    const slot = this.#slots.get(id);
    if (slot) this.#next(slot);
  }

  #wait(slot: Slot, hold: Hold, what: string, waitMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        cancelWait();
        signal.removeEventListener("abort", onAbort);
      };
      const leave = (error: unknown) => {
        settle();
        slot.waiters.splice(slot.waiters.indexOf(waiter), 1);
        reject(error as Error);
      };
      const onAbort = () => leave(signal.reason);
      const cancelWait = this.#clock.after(waitMs, () =>
        leave(new HoldfastError("busy", `${what} was not free for ${waitMs} ms: others hold it`)),
      );
      const waiter = {
        hold,
        granted: () => {
          settle();
          resolve();
        },
      };
      signal.addEventListener("abort", onAbort, { once: true });
      slot.waiters.push(waiter);
      this.#watch(slot);
    });
  }

  #watch(slot: Slot): void {
    const { hold, waiters } = slot;
    if (hold.token === null || waiters.length === 0 || hold.ends) return;
    hold.ends = true;
    hold.cancelEnd = this.#clock.after(HOLD_MS, () => {
      hold.ends = false;
      // Those who waited may have gone: it is kept on, until another one comes.
      if (slot.waiters.length > 0) this.giveBack(hold);
    });
  }

  #next(slot: Slot): void {
    const { hold, waiters } = slot;
    hold.over = true;
    hold.cancelEnd();
    const next = waiters.shift();
    if (!next) return void this.#slots.delete(hold.id);
    slot.hold = next.hold;
    next.granted();
  }
}
