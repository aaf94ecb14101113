import type { Clock } from "../../../core/clock.ts";
import type { Peak, WorkerUse } from "../../../model/worker-end.ts";
import { READ_BYTES } from "./proc-stat.ts";
import type { Hit, WatchSpec } from "./watch-spec.ts";
import { WatchedWorker } from "./watched-worker.ts";

export interface LimitWatch {
  peak(): Peak;
  /** What it uses now. */
  use(): WorkerUse;
  /** Most descriptors that one process of it was seen to have open. */
  openFiles(): number;
  /** The limit that was passed, if one was. */
  hit(): Hit | null;
  /** Milliseconds for which it was stopped to hold its share of the processor. */
  throttledMs(): number;
  /** Processor time over the share that is never made up for, because a look came late. */
  forgivenMs(): number;
  /** Processes seen last, for a kill. */
  pids(): number[];
  /** Takes a last look and ends the watch; a worker that was stopped goes on. */
  stop(): void;
}

/** Looks as seldom as this come at multiples of their distance, so that many idle workers wake the agent together. */
const SELDOM_MS = 250;

/** Watches the limits of all workers of an agent with one timer, which rests while there is nobody to watch. */
export class LimitWatcher {
  readonly #clock: Clock;
  readonly #due = new Map<WatchedWorker, number>();
  readonly #buffer = Buffer.allocUnsafe(READ_BYTES);
  #timer: { at: number; cancel: () => void } | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(spec: WatchSpec): LimitWatch {
    const { mono } = this.#clock;
    const worker = new WatchedWorker(spec, mono.bind(this.#clock), this.#buffer);
    this.#look(worker);
    this.#arm();
    return {
      peak: () => worker.peak(),
      use: () => worker.use(),
      openFiles: () => worker.openFiles,
      hit: () => worker.hit,
      throttledMs: () => worker.throttledMs(),
      forgivenMs: () => worker.forgivenMs(),
      pids: () => worker.pids(),
      stop: () => {
        this.#due.delete(worker);
        worker.stop();
        this.#arm();
      },
    };
  }

  /** Ends all watches without a last look. */
  stop(): void {
    this.#due.clear();
    this.#arm();
  }

  #look(worker: WatchedWorker): void {
    const nextMs = worker.look();
    if (nextMs === null) {
      this.#due.delete(worker);
      return;
    }
    const at = this.#clock.mono() + nextMs;
    this.#due.set(worker, nextMs < SELDOM_MS ? at : Math.round(at / nextMs) * nextMs);
  }

  #tick(): void {
    this.#timer = undefined;
    const now = this.#clock.mono();
    for (const [worker, at] of [...this.#due]) if (at <= now + 1) this.#look(worker);
    this.#arm();
  }

  #arm(): void {
    const next = Math.min(...this.#due.values());
    if (this.#timer && this.#timer.at <= next && next !== Infinity) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    if (next === Infinity) return;
    const ms = Math.max(1, next - this.#clock.mono());
    this.#timer = { at: next, cancel: this.#clock.after(ms, () => this.#tick()) };
  }
}
