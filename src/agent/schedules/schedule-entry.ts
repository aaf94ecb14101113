import { formatDuration } from "../../core/duration.ts";
import { JUMP_MS, type TimeWatch } from "../../core/time-watch.ts";
import type { CronTime } from "../../model/cron.ts";
import type { Json } from "../../model/json.ts";
import {
  isByWall,
  nextDue,
  SCHEDULE_PREFIX,
  type ScheduleDefinition,
  type ScheduleMemory,
  spreadOffset,
  timingText,
} from "../../model/schedule.ts";

/** A schedule, where it stands, and when it is looked at next. */
export class ScheduleEntry {
  readonly definition: ScheduleDefinition;
  readonly trigger: string;
  readonly timing: string;
  readonly offsetMs: number;
  readonly byWall: boolean;
  memory: ScheduleMemory;
  /** By its clock; null when nothing will come. */
  dueMs: number | null = null;
  /** Settled one after the other: firings, pauses. */
  work: Promise<unknown> = Promise.resolve();
  lastRun: string | null = null;
  lastProblem: string | null = null;
  /** In line, or firing. */
  busy = false;
  /** Of `init`: not done yet since this start. */
  initMs: number | null = null;

  constructor(definition: ScheduleDefinition, agentId: string, watch: TimeWatch) {
    this.definition = definition;
    this.trigger = SCHEDULE_PREFIX + definition.name;
    this.timing = timingText(definition.timing, formatDuration);
    this.offsetMs = spreadOffset(agentId, definition.name, definition.spreadMs);
    this.byWall = isByWall(definition.timing);
    this.memory = this.#begin(watch);
  }

  get state(): "active" | "paused" | "disabled" | "ended" {
    if (!this.definition.enabled) return "disabled";
    if (this.memory.paused !== null) return "paused";
    return this.dueMs === null && !this.busy ? "ended" : "active";
  }

  get runs(): boolean {
    return this.definition.enabled && this.memory.paused === null;
  }

  /** Takes over what the store holds, unless it is of another timing: only a pause outlives that. */
  remember(value: Json, watch: TimeWatch): void {
    const memory = value as unknown as ScheduleMemory;
    const { paused, fired, missed, lastFiredMs } = memory;
    this.memory =
      memory.timing === this.timing ? memory : { ...this.#begin(watch), paused, fired, missed, lastFiredMs };
  }

  /** From the cursor on, by its clock. */
  next(afterMs = this.memory.cursorMs): CronTime | null {
    return nextDue(this.definition.timing, this.offsetMs, afterMs);
  }

  /** Looks for the next due time, and for the start that `init` is for. */
  arm(): void {
    this.dueMs = this.runs ? (this.initMs ?? this.next()?.atMs ?? null) : null;
  }

  /**
   * Where the wall clock went back: due times ahead may come again. Those that have fired are known by the ids of their
   * events, and are not started again.
   */
  rebase({ wall: { nowMs } }: TimeWatch): void {
    if (this.definition.timing.kind !== "cron" || this.memory.cursorMs <= nowMs + JUMP_MS) return;
    this.memory = { ...this.memory, cursorMs: nowMs };
  }

  /** Where a schedule begins that the store does not know, or that goes on after a pause. */
  beginning(watch: TimeWatch): number {
    const { timing } = this.definition;
    switch (timing.kind) {
      case "cron":
        return watch.wall.nowMs;
      case "every":
        return watch.trusted.nowMs + (this.offsetMs % timing.everyMs);
      case "at":
        return timing.atMs + this.offsetMs - 1;
      case "init":
        return 0;
    }
  }

  #begin(watch: TimeWatch): ScheduleMemory {
    const cursorMs = this.beginning(watch);
    return { timing: this.timing, cursorMs, paused: null, fired: 0, missed: 0, lastFiredMs: null };
  }
}
