import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Clock } from "../../core/clock.ts";
import type { Logger } from "../../core/logger.ts";
import { LATER_TRIGGER, type LaterEnd, type LaterRun, MAX_LATER } from "../../model/schedule-later.ts";
import { DueTimes, roomOrStop } from "./due-times.ts";
import type { StartingEvent } from "./ports.ts";

const RETRY_MS = 1000;

export interface LaterPorts {
  /** Those that wait, of certain keys or all. */
  waiting(keys?: string[]): Promise<LaterRun[]>;
  end(id: string, state: LaterEnd): Promise<boolean>;
  /** Keeps the event, the run and what became of it, in one transaction. */
  record(trigger: string, events: StartingEvent[], later: { id: string; state: LaterEnd }): Promise<unknown>;
  /** Why this action may start nothing any more, or null. */
  refusal(action: string): string | null;
  room(): Promise<void>;
  clock: Clock;
  log: Logger;
}

/**
 * Runs that actions have put off: each starts once when it is due, or as soon after that as the agent is there, if who asked
 * for it still may. They are due one after the other.
 */
export class LaterRuns {
  readonly counters = { started: 0, refused: 0, cancelled: 0 };
  readonly #ports: LaterPorts;
  readonly #rows = new Map<string, LaterRun>();
  readonly #due: DueTimes<LaterRun>;
  readonly #stopped = new AbortController();
  #reading: Promise<unknown> = Promise.resolve();
  #work: Promise<unknown> | null = null;
  /** Under way: too late to be cancelled. */
  #starting: string | null = null;

  constructor(ports: LaterPorts) {
    this.#ports = ports;
    this.#due = new DueTimes(ports.clock, () => this.#wake());
  }

  async start(): Promise<void> {
    this.#take(await this.#ports.waiting());
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#due.stop();
    await this.#reading;
    await this.#work;
  }

  get waiting(): number {
    return this.#rows.size;
  }

  hasRoom(count: number): boolean {
    return this.#rows.size + count <= MAX_LATER;
  }

  /** The store says which of them are new: a step that runs again asks for the same. */
  added(rows: LaterRun[]): void {
    const keys = rows.map(({ key }) => key);
    this.#reading = this.#reading
      .then(() => this.#ports.waiting(keys))
      .then((known) => this.#take(known))
      .catch((error: unknown) => {
        this.#ports.log.warn("runs that were put off could not be read; they start after the next start", {
          error: messageOf(error),
        });
      });
  }

  /** The next first, with the time by the host's wall clock. */
  list(): { row: LaterRun; atMs: number }[] {
    const { clock } = this.#ports;
    const shift = clock.wall() - clock.trusted();
    return [...this.#rows.values()]
      .map((row) => ({ row, atMs: Math.round(row.byWall ? row.dueMs : row.dueMs + shift) }))
      .toSorted((a, b) => a.atMs - b.atMs);
  }

  /** `id` may be the end or the beginning of one, of at least 4 characters. Resolves with the whole id when it is durable. */
  async cancel(id: string): Promise<string> {
    const row = this.#find(id);
    if (row.id === this.#starting || !(await this.#ports.end(row.id, "cancelled")))
      throw new HoldfastError("conflict", `run ${row.id} is not put off any more: it is being started`);
    this.#rows.delete(row.id);
    this.counters.cancelled++;
    return row.id;
  }

  #find(id: string): LaterRun {
    const exact = this.#rows.get(id);
    if (exact) return exact;
    const fits = (row: LaterRun) => id.length >= 4 && (row.id.startsWith(id) || row.id.endsWith(id));
    const found = [...this.#rows.values()].filter(fits);
    if (found.length === 1) return found[0]!;
    if (found.length === 0)
      throw new HoldfastError("not_found", `no run ${id} is put off; see holdfast schedules list`);
    throw new HoldfastError(
      "conflict",
      `${found.length} runs that are put off have ids like ${id}: give more of it`,
    );
  }

  #take(rows: LaterRun[]): void {
    for (const row of rows) {
      if (this.#rows.has(row.id)) continue;
      this.#rows.set(row.id, row);
      this.#due.push(row, row.dueMs, row.byWall);
    }
    if (this.#work === null) this.#due.arm();
  }

  #wake(): void {
    this.#work = this.#startDue().finally(() => {
      this.#work = null;
      this.#due.arm();
    });
  }

  async #startDue(): Promise<void> {
    for (let due = this.#due.take(); due !== null; due = this.#due.take()) {
      const row = due.item;
      await roomOrStop(this.#ports.room, this.#stopped.signal);
      if (this.#stopped.signal.aborted) return;
      if (!this.#rows.has(row.id)) continue;
      this.#starting = row.id;
      try {
        await this.#begin(row);
        this.#rows.delete(row.id);
      } catch (error) {
        this.#ports.log.warn("a run that was put off could not be started; it is tried again", {
          later: row.id,
          error: messageOf(error),
        });
        const { clock } = this.#ports;
        this.#due.push(row, RETRY_MS + (row.byWall ? clock.wall() : clock.trusted()), row.byWall);
      } finally {
        this.#starting = null;
      }
    }
  }

  async #begin(row: LaterRun): Promise<void> {
    const refusal = this.#ports.refusal(row.plugin);
    if (refusal !== null) return this.#refuse(row, refusal);
    try {
      await this.#record(row, null);
      this.counters.started++;
    } catch (error) {
      const hopeless = error instanceof HoldfastError && ["invalid", "not_found"].includes(error.code);
      if (!hopeless) throw error;
      await this.#refuse(row, error.message);
    }
  }

  async #refuse(row: LaterRun, problem: string): Promise<void> {
    await this.#record(row, problem);
    this.counters.refused++;
    this.#ports.log.error("a run that was put off may not start", {
      ...{ later: row.id, pipeline: row.pipeline, run: row.run, step: row.step, problem },
    });
  }

  async #record(row: LaterRun, problem: string | null): Promise<void> {
    const { id, pipeline, params, dueMs, plugin, run, step, rule, key, cause, hops } = row;
    const data = {
      scheduledMs: dueMs,
      missed: 0,
      run,
      step,
      plugin,
      ...(problem === null ? {} : { problem }),
    };
    const start =
      problem === null
        ? {
            ...{ pipeline, params, rule, starter: { kind: "schedule" as const, by: id } },
            parent: { run, step, key },
          }
        : null;
    const event = { id, type: "schedule.due", subject: pipeline, data };
    const state = problem === null ? "started" : "refused";
    // So that what feeds itself in this way is stopped as any other chain of events is.
    const chain = { hops, ...(cause === null ? {} : { causationid: cause }) };
    await this.#ports.record(LATER_TRIGGER, [{ event, chain, start }], { id, state });
  }
}
