import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { ProposedEvent } from "../model/event.ts";
import type { AgentStore } from "./store/port.ts";
import { className } from "./store/outbox-losses.ts";

/** Losses come one after the other while the outbox is full: they are told of together. */
const TOLD_EVERY_MS = 60_000;

export interface LossWatchOptions {
  store: Pick<AgentStore, "onEvicted">;
  /** Keeps the event. */
  record(event: ProposedEvent): Promise<unknown>;
  clock: Clock;
  log: Logger;
}

/** Tells of rows that had to go before the hub had them: a line of the log and an event, at most once a minute. */
export class LossWatch {
  readonly #options: LossWatchOptions;
  /** Rows by class that were not told of yet. */
  #untold: Record<string, number> = {};
  /** Since it began; null when nothing was lost for a minute. */
  #lost: number | null = null;
  #cancel: (() => void) | undefined;
  #stopped = false;

  constructor(options: LossWatchOptions) {
    this.#options = options;
    options.store.onEvicted(({ counts }) => this.#take(counts));
  }

  /** Why the agent is not well: rows are being lost now. */
  problem(): string | null {
    if (this.#lost === null) return null;
    return (
      `more waits for the hub than sync.outbox allows: ${this.#lost} rows were given up, the oldest of the lowest lane first; ` +
      "what was lost is told exactly to the hub when it is back"
    );
  }

  stop(): void {
    this.#stopped = true;
    this.#cancel?.();
  }

  #take(counts: Record<string, number>): void {
    if (this.#stopped) return;
    for (const [recordClass, count] of Object.entries(counts)) {
      const name = className(Number(recordClass));
      this.#untold[name] = (this.#untold[name] ?? 0) + count;
      this.#lost = (this.#lost ?? 0) + count;
    }
    if (this.#cancel === undefined) this.#tell();
  }

  #tell(): void {
    const { record, clock, log } = this.#options;
    const counts = this.#untold;
    const rows = Object.values(counts).reduce((sum, each) => sum + each, 0);
    this.#untold = {};
    this.#cancel = clock.after(TOLD_EVERY_MS, () => this.#again());
    log.error("rows that the hub never had were given up: more waits for it than sync.outbox allows", {
      rows,
      ...counts,
    });
    const event = {
      type: "sync.rows.lost",
      severity: "error" as const,
      data: { rows, counts, reason: "cap" },
    };
    record(event).catch((error: unknown) => {
      log.warn("the event of rows that were lost could not be kept", { error: messageOf(error) });
    });
  }

  #again(): void {
    this.#cancel = undefined;
    if (Object.keys(this.#untold).length > 0) this.#tell();
    else this.#lost = null;
  }
}
