import { HoldfastError, messageOf } from "../../core/errors.ts";
import { nearest } from "../../core/nearest.ts";
import type { TimeWatch } from "../../core/time-watch.ts";
import type { CronTime } from "../../model/cron.ts";
import type { Json } from "../../model/json.ts";
import type { ScheduleDefinition, ScheduleMemory } from "../../model/schedule.ts";
import { DueTimes, roomOrStop } from "./due-times.ts";
import { firingOf } from "./fire-entry.ts";
import { keepFiring, type ScheduleCounters } from "./keep-firing.ts";
import type { SchedulePorts, Started, StartingEvent } from "./ports.ts";
import { ScheduleEntry } from "./schedule-entry.ts";
import { comingTimes, scheduleSummary, type ScheduleSummary } from "./schedule-summary.ts";

/** After a commit that failed. */
const RETRY_MS = 1000;
/** Schedules that fire at once; the others wait in line, so that not every one of them sees the last free place for a run. */
const MAX_AT_ONCE = 64;

/** What starts by time: each due time is settled once, durably, in one transaction with the run that it starts. */
export class Schedules {
  readonly counters: ScheduleCounters = { fired: 0, missed: 0, problems: 0 };
  readonly #ports: SchedulePorts;
  readonly #watch: TimeWatch;
  readonly #entries = new Map<string, ScheduleEntry>();
  readonly #due: DueTimes<ScheduleEntry>;
  readonly #stopped = new AbortController();
  readonly #deaf: () => void;
  #line: ScheduleEntry[] = [];
  /** Place in the line of the one that is next. */
  #lineAt = 0;
  #firing = 0;

  constructor(ports: SchedulePorts) {
    this.#ports = ports;
    this.#watch = ports.watch;
    this.#due = new DueTimes(ports.clock, () => this.#look());
    this.#deaf = this.#watch.onJump(({ byMs }) => this.#afterJump(byMs));
  }

  /** Takes up each schedule where the store says that it stands. Resolves when the beginning of new ones is durable. */
  async start(definitions: ScheduleDefinition[]): Promise<void> {
    this.#watch.look();
    const { agentId, clock } = this.#ports;
    for (const definition of definitions)
      this.#entries.set(definition.name, new ScheduleEntry(definition, agentId, this.#watch));
    const kept = [...this.#entries.values()].filter(({ definition }) => definition.enabled);
    const remembered = await this.#ports.remembered(kept.map(({ trigger }) => trigger));
    const values = new Map(remembered.map(({ trigger, value }) => [trigger, value]));
    const begun: ScheduleEntry[] = [];
    for (const entry of kept) {
      const value = values.get(entry.trigger);
      if (value !== undefined) entry.remember(value, this.#watch);
      if ((value as { timing?: string } | undefined)?.timing !== entry.timing) begun.push(entry);
      this.#takeUp(entry, clock.trusted());
    }
    await Promise.all(begun.map((entry) => this.#begin(entry)));
    for (const entry of kept) this.#armAgain(entry);
    this.#look();
  }

  /** Nothing fires any more, and what did is durable. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#deaf();
    this.#due.stop();
    this.#line.length = 0;
    await Promise.all([...this.#entries.values()].map((entry) => entry.work));
  }

  entries(): ScheduleEntry[] {
    return [...this.#entries.values()];
  }

  list(): ScheduleSummary[] {
    return this.entries().map((entry) => scheduleSummary(entry, this.#watch));
  }

  states(): Record<string, number> {
    const states: Record<string, number> = {};
    for (const { state } of this.#entries.values()) states[state] = (states[state] ?? 0) + 1;
    return states;
  }

  /** The coming due times of a schedule, by the host's wall clock, whether it is paused or not. */
  next(name: string, count: number): CronTime[] {
    return comingTimes(this.#find(name), this.#watch, count);
  }

  /** Resolves when it is durable. What is due meanwhile is neither fired nor missed. False when it was paused already. */
  async pause(name: string, by: string): Promise<boolean> {
    const entry = this.#find(name);
    return await this.#after(entry, async () => {
      if (entry.memory.paused !== null) return false;
      const atMs = this.#ports.clock.wall();
      await this.#tell(entry, "schedule.paused", by, { ...entry.memory, paused: { by, atMs } });
      return true;
    });
  }

  /** Goes on from now. False when it was not paused. */
  async resume(name: string, by: string): Promise<boolean> {
    const entry = this.#find(name);
    return await this.#after(entry, async () => {
      const { memory, definition } = entry;
      if (memory.paused === null) return false;
      entry.initMs = null;
      const once = definition.timing.kind === "at" || definition.timing.kind === "init";
      const cursorMs = once ? memory.cursorMs : entry.beginning(this.#watch);
      await this.#tell(entry, "schedule.resumed", by, { ...memory, cursorMs, paused: null });
      return true;
    });
  }

  #find(name: string): ScheduleEntry {
    const entry = this.#entries.get(name);
    if (entry) {
      if (entry.definition.enabled) return entry;
      throw new HoldfastError("conflict", `schedule ${name} is disabled in the configuration`);
    }
    const near = nearest(name, [...this.#entries.keys()]);
    const hint = near === undefined ? "" : `; did you mean ${near}?`;
    throw new HoldfastError("not_found", `there is no schedule ${name} here${hint}`);
  }

  #takeUp(entry: ScheduleEntry, trustedMs: number): void {
    const { timing } = entry.definition;
    if (timing.kind === "init" && !(timing.once && entry.memory.fired > 0))
      entry.initMs = trustedMs + entry.offsetMs;
  }

  /** So that what comes due is known to be missed if the agent is not there then. */
  async #begin(entry: ScheduleEntry): Promise<void> {
    try {
      await this.#record(entry, [], entry.memory);
    } catch (error) {
      this.#ports.log.warn("the beginning of a schedule could not be kept; it is, when it fires", {
        ...{ schedule: entry.definition.name, error: messageOf(error) },
      });
    }
  }

  #armAgain(entry: ScheduleEntry): void {
    entry.rebase(this.#watch);
    entry.arm();
    this.#push(entry);
  }

  #push(entry: ScheduleEntry): void {
    if (entry.dueMs === null || entry.busy) return;
    this.#due.push(entry, entry.dueMs, entry.byWall);
  }

  #afterJump(byMs: number): void {
    if (byMs > 0) return;
    this.#due.clearWall();
    for (const entry of this.#entries.values()) if (entry.byWall && !entry.busy) this.#armAgain(entry);
    this.#due.arm();
  }

  #look(): void {
    if (this.#stopped.signal.aborted) return;
    this.#watch.look();
    for (let due = this.#due.take(); due !== null; due = this.#due.take()) {
      const { item: entry, atMs } = due;
      // One that was armed anew since is there once more.
      if (entry.dueMs !== atMs || entry.busy) continue;
      entry.busy = true;
      this.#line.push(entry);
    }
    this.#fireLine();
    this.#due.arm();
  }

  #fireLine(): void {
    while (this.#firing < MAX_AT_ONCE) {
      const entry = this.#line[this.#lineAt++];
      if (entry === undefined) {
        this.#line = [];
        this.#lineAt = 0;
        return;
      }
      this.#firing++;
      void this.#fireWithRoom(entry).finally(() => {
        this.#firing--;
        entry.busy = false;
        this.#push(entry);
        if (this.#stopped.signal.aborted) return;
        this.#fireLine();
        this.#due.arm();
      });
    }
  }

  /** Not its turn yet while it waits for room: a pause need not wait for that. */
  async #fireWithRoom(entry: ScheduleEntry): Promise<void> {
    await roomOrStop(this.#ports.room, this.#stopped.signal);
    await this.#after(entry, () => this.#fire(entry));
  }

  async #fire(entry: ScheduleEntry): Promise<void> {
    const { clock, log } = this.#ports;
    try {
      if (this.#stopped.signal.aborted) return;
      this.#watch.look();
      const firing = firingOf(entry, this.#watch);
      if (firing !== null) await keepFiring(this.#ports, entry, firing, this.counters);
      entry.rebase(this.#watch);
      entry.arm();
    } catch (error) {
      log.warn("a schedule could not fire; it is tried again", {
        schedule: entry.definition.name,
        error: messageOf(error),
      });
      entry.dueMs = RETRY_MS + (entry.byWall ? clock.wall() : clock.trusted());
    }
  }

  async #tell(entry: ScheduleEntry, type: string, by: string, memory: ScheduleMemory): Promise<void> {
    const { name } = entry.definition;
    const id = `${name}@${type}-${this.#ports.clock.wall()}`;
    await this.#record(entry, [{ event: { id, type, subject: name, data: { by } }, start: null }], memory);
    entry.memory = memory;
    entry.arm();
    this.#push(entry);
    this.#due.arm();
  }

  #record(entry: ScheduleEntry, events: StartingEvent[], memory: ScheduleMemory): Promise<Started[]> {
    return this.#ports.record(entry.trigger, events, memory as unknown as Json);
  }

  /** One after the other: a pause comes before a firing or after it. */
  #after<T>(entry: ScheduleEntry, work: () => Promise<T>): Promise<T> {
    const done = entry.work.then(work);
    entry.work = done.catch(() => {});
    return done;
  }
}
