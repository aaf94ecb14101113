import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import { type CloudEvent, eventSource, type ProposedEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import type { NewRun } from "../../model/run-build.ts";

interface EventCommit {
  trigger: string;
  events: { source: string; id: string; type: string; timeMs: number; body: string }[];
  runs: { event: number; rule: string; firedAtMs: number; start: NewRun }[];
  checkpoint: Json | undefined;
  recordedMs: number;
}

export interface EventStorePort {
  commitEvents(commit: EventCommit): Promise<{ duplicates: number[] }>;
}

export interface RulesPort {
  concerns(trigger: string): boolean;
  /** `previousMs`: when the rule had last started a run, to be restored when this one is not kept. */
  match(
    trigger: string,
    event: CloudEvent,
    nowMs: number,
  ): { rule: string; pipeline: string; params: Json; previousMs: number | undefined }[];
  restore(rule: string, firedAtMs: number, previousMs: number | undefined): void;
}

export interface RunsPort {
  /** Resolves when there is room for more open runs: this is the back-pressure on triggers. */
  room(): Promise<void>;
  build(pipeline: string, rule: string, event: CloudEvent, params: Json): NewRun;
  /** Takes over runs that are committed. */
  admit(runs: NewRun[]): void;
}

export interface RecorderCounters {
  events: number;
  duplicates: number;
  refused: number;
  commits: number;
}

interface Options {
  agentId: string;
  store: EventStorePort;
  rules: RulesPort;
  runs: RunsPort;
  clock: Clock;
  ids: Ids;
  log: Logger;
  maxEventBytes: number;
}

interface PendingRun {
  event: number;
  rule: string;
  firedAtMs: number;
  previousMs: number | undefined;
  start: NewRun;
}

/**
 * From what a trigger yields to what is kept: makes CloudEvents, asks the rules, and commits events, runs, outbox rows
 * and checkpoint in one transaction. Resolves after the commit; rejects when the emit was refused as a whole. `turn`
 * settles with the trigger's emit before: this one is made ready meanwhile, and is kept only after it.
 */
export class EventRecorder {
  readonly counters: RecorderCounters = { events: 0, duplicates: 0, refused: 0, commits: 0 };
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  async record(
    trigger: string,
    proposed: ProposedEvent[],
    checkpoint: Json | undefined,
    turn: Promise<void> = Promise.resolve(),
  ): Promise<void> {
    try {
      await this.#record(trigger, proposed, checkpoint, turn);
    } catch (error) {
      this.counters.refused += proposed.length;
      throw error;
    }
  }

  async #record(
    trigger: string,
    proposed: ProposedEvent[],
    checkpoint: Json | undefined,
    turn: Promise<void>,
  ): Promise<void> {
    const { store, clock, rules, runs } = this.#options;
    const concerns = rules.concerns(trigger);
    if (concerns) {
      // Rules see one batch after the other: whether a cooldown holds depends on what became of the batch before.
      await turn;
      await runs.room();
    }
    const nowMs = clock.wall();
    const now = new Date(nowMs).toISOString();
    const source = eventSource(this.#options.agentId, trigger);
    const pending: PendingRun[] = [];
    const events = proposed.map((item, index) => {
      const event = this.#envelope(source, item, now);
      if (concerns) this.#applyRules(trigger, event, index, pending);
      return this.#row(event, nowMs);
    });
    const commit: EventCommit = {
      trigger,
      events,
      runs: pending.map(({ event, rule, firedAtMs, start }) => ({ event, rule, firedAtMs, start })),
      checkpoint,
      recordedMs: nowMs,
    };
    let duplicates: Set<number>;
    await turn;
    try {
      duplicates = new Set((await store.commitEvents(commit)).duplicates);
    } catch (error) {
      for (const run of pending) rules.restore(run.rule, run.firedAtMs, run.previousMs);
      throw error;
    }
    this.counters.commits++;
    this.counters.events += events.length - duplicates.size;
    this.counters.duplicates += duplicates.size;
    for (const run of pending)
      if (duplicates.has(run.event)) rules.restore(run.rule, run.firedAtMs, run.previousMs);
    const kept = pending.filter((run) => !duplicates.has(run.event)).map((run) => run.start);
    if (kept.length > 0) runs.admit(kept);
  }

  #envelope(source: string, item: ProposedEvent, now: string): CloudEvent {
    const event: CloudEvent = {
      specversion: "1.0",
      id: item.id ?? this.#options.ids.next(),
      source,
      type: item.type,
      time: item.time ?? now,
    };
    if (item.subject !== undefined) event.subject = item.subject;
    if (item.severity !== undefined) event.severity = item.severity;
    if (item.data !== undefined) {
      event.datacontenttype = "application/json";
      event.data = item.data;
    }
    return event;
  }

  #row(event: CloudEvent, nowMs: number) {
    const body = JSON.stringify(event);
    if (body.length > this.#options.maxEventBytes) {
      throw new HoldfastError(
        "too_large",
        `event ${event.type} has ${body.length} bytes, more than limits.event_size (${this.#options.maxEventBytes}): make it smaller or raise the limit`,
      );
    }
    return { source: event.source, id: event.id, type: event.type, timeMs: nowMs, body };
  }

  #applyRules(trigger: string, event: CloudEvent, index: number, pending: PendingRun[]): void {
    const { rules, runs, clock, log } = this.#options;
    const firedAtMs = clock.trusted();
    for (const match of rules.match(trigger, event, firedAtMs)) {
      try {
        const start = runs.build(match.pipeline, match.rule, event, match.params);
        pending.push({ event: index, rule: match.rule, firedAtMs, previousMs: match.previousMs, start });
      } catch (error) {
        log.error("a matched rule could not start its pipeline", {
          rule: match.rule,
          error: messageOf(error),
        });
      }
    }
  }
}
