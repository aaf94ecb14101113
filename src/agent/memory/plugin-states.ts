import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { Json } from "../../model/json.ts";
import { memoryText } from "../../model/memory.ts";
import type { Memory } from "./memory.ts";

const KEY = "state";

interface State {
  /** Taken and not written yet. */
  pending: { value: Json } | null;
  /** When the last one was written. */
  writtenMono: number;
  cancelTimer: () => void;
  /** Writes of one part come one after the other. */
  writing: Promise<void>;
}

export interface StatesOptions {
  memory: Pick<Memory, "get" | "set">;
  clock: Clock;
  log: Logger;
}

/**
 * One JSON value of each trigger, output and action, which is its own (row L-08). However often it is saved, it is written at
 * most once in a while, so that what a crash goes back by is bounded and so is the wear of the disk. What is taken and not
 * written yet is here, so that a plugin that dies alone loses nothing.
 */
export class PluginStates {
  readonly #options: StatesOptions;
  readonly #states = new Map<string, State>();

  constructor(options: StatesOptions) {
    this.#options = options;
  }

  /** `part`: kind and name, like `trigger/front`. One that cannot be read is no reason to fail: the plugin begins anew. */
  async load(part: string): Promise<{ exists: boolean; value: Json }> {
    const pending = this.#states.get(part)?.pending;
    if (pending) return { exists: true, value: pending.value };
    try {
      const entry = await this.#options.memory.get(placeOf(part), KEY);
      return { exists: entry !== null, value: entry?.value ?? null };
    } catch (error) {
      if (!(error instanceof HoldfastError) || error.retryable) throw error;
      this.#options.log.error("the state of a plugin cannot be read: it starts without one", {
        part,
        reason: error.message,
      });
      return { exists: false, value: null };
    }
  }

  /**
   * Resolves when it is taken, and with `force` when it is durable. Throws `invalid` and `too_large` before it is taken; when a
   * write fails it throws with `force`, and else tries again after `everyMs`.
   */
  async save(
    part: string,
    value: Json,
    { everyMs, force }: { everyMs: number; force: boolean },
  ): Promise<void> {
    const kept = JSON.parse(memoryText("the state", value)) as Json;
    const state = this.#of(part);
    state.pending = { value: kept };
    if (force) return await this.#write(part, state);
    const left = state.writtenMono + everyMs - this.#options.clock.mono();
    state.cancelTimer();
    state.cancelTimer = this.#options.clock.after(Math.max(0, left), () => this.#writeLater(part, everyMs));
  }

  /** Writes what is still here. */
  async stop(): Promise<void> {
    for (const [part, state] of this.#states) {
      state.cancelTimer();
      await this.#write(part, state).catch((error: unknown) => this.#failed(part, error));
    }
  }

  #of(part: string): State {
    const known = this.#states.get(part);
    if (known) return known;
    const made: State = {
      ...{ pending: null, writtenMono: -Infinity, cancelTimer: () => {}, writing: Promise.resolve() },
    };
    this.#states.set(part, made);
    return made;
  }

  #writeLater(part: string, everyMs: number): void {
    const state = this.#of(part);
    void this.#write(part, state).catch((error: unknown) => {
      this.#failed(part, error);
      state.cancelTimer();
      state.cancelTimer = this.#options.clock.after(everyMs, () => this.#writeLater(part, everyMs));
    });
  }

  #write(part: string, state: State): Promise<void> {
    state.cancelTimer();
    const written = state.writing.then(async () => {
      const { pending } = state;
      if (pending === null) return;
      state.writtenMono = this.#options.clock.mono();
      await this.#options.memory.set(placeOf(part), KEY, pending.value, null);
      // What came meanwhile waits for its own time.
      if (state.pending === pending) state.pending = null;
    });
    state.writing = written.catch(() => {});
    return written;
  }

  #failed(part: string, error: unknown): void {
    this.#options.log.warn("the state of a plugin could not be written", { part, reason: messageOf(error) });
  }
}

/** No namespace has a slash: nobody else gets there. */
function placeOf(part: string): string {
  return `holdfast/${part}`;
}
