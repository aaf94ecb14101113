import { type FSWatcher, realpathSync, watch } from "node:fs";
import { basename, dirname } from "node:path";
import type { PluginClock } from "../../src/sdk/holdfast.ts";

/** A watch that could not be had is tried again after this time. */
const RETRY_MS = 5_000;
/** Bun 1.4.5 swallows a notice that is like one of up to 2 ms before: after each notice a second look is due. */
const SETTLE_MS = 5;

/** Waits for something to happen to a file: a notice of the kernel, or the next look at the clock. */
export class Waker {
  readonly #path: string;
  readonly #clock: PluginClock;
  readonly #signal: AbortSignal;
  readonly #onAbort = () => this.#wake();
  #watcher: FSWatcher | undefined;
  #triedAt = -Infinity;
  #pending = false;
  #settling = false;
  #sleeping: AbortController | undefined;

  constructor(path: string, clock: PluginClock, signal: AbortSignal) {
    this.#path = path;
    this.#clock = clock;
    this.#signal = signal;
    signal.addEventListener("abort", this.#onAbort);
  }

  /** Call before looking: what happens from here on ends the next wait at once. */
  arm(): void {
    this.#settling = this.#pending;
    this.#pending = false;
    if (!this.#watcher && this.#clock.mono() - this.#triedAt >= RETRY_MS) this.#watch();
  }

  async wait(ms: number): Promise<void> {
    if (this.#pending || this.#signal.aborted) return;
    this.#sleeping = new AbortController();
    await this.#clock.sleep(this.#settling ? Math.min(ms, SETTLE_MS) : ms, this.#sleeping.signal);
    this.#sleeping = undefined;
  }

  /** The file is another one now, maybe in a new folder of the same name. */
  reset(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    this.#triedAt = -Infinity;
  }

  close(): void {
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  /** The folder is watched, not the file: so a file that is made or moved here is noticed as well. */
  #watch(): void {
    this.#triedAt = this.#clock.mono();
    try {
      const real = this.#realPath();
      const names = new Set([basename(real), basename(this.#path)]);
      const watcher = watch(dirname(real), { persistent: false }, (_, name) => {
        if (name === null || names.has(name)) this.#wake();
      });
      watcher.on("error", () => {
        watcher.close();
        if (this.#watcher === watcher) this.#watcher = undefined;
      });
      this.#watcher = watcher;
    } catch {
      // No folder yet, no right to read it, or no watches left: looking at intervals does it too.
    }
  }

  #realPath(): string {
    try {
      return realpathSync(this.#path);
    } catch {
      return this.#path;
    }
  }

  #wake(): void {
    this.#pending = true;
    this.#sleeping?.abort();
  }
}
