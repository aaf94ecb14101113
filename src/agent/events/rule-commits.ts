import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { commitRuns } from "./commit-runs.ts";
import { eventRow } from "./envelope.ts";
import { linkFindings } from "./link-findings.ts";
import type {
  Evaluated,
  EventCommit,
  EventRow,
  EventStorePort,
  LaterEnding,
  RulesPort,
  RunsPort,
  Times,
} from "./ports.ts";

interface Options {
  store: EventStorePort;
  rules: RulesPort;
  runs: RunsPort;
  clock: Clock;
  log: Logger;
  /** Called after each commit, with the number of events that it kept. */
  committed: (kept: number, duplicates: number) => void;
}

/** What is committed beside what the rules make of it. */
interface Given {
  trigger: string;
  events: EventRow[];
  checkpoint: EventCommit["checkpoint"];
  /** Runs that the events start by themselves. */
  runs?: EventCommit["runs"];
  later?: LaterEnding;
}

const NOTHING: Given = { trigger: "", events: [], checkpoint: undefined };
/** Longest sleep until something is due: the trusted time may be corrected meanwhile. */
const MAX_SLEEP_MS = 60_000;
const RETRY_MS = 1000;
/** Each time some other commit has failed; more often than this it is not that. */
const MAX_TRIES = 100;

/**
 * Commits of events that rules have looked at. The rules change their memory when they look, before the commit: commits
 * of several triggers overlap, and each builds on those that were sent before it. So each carries the count of the ones
 * that it builds on, and the store refuses it when one of them has failed. Then the memory is read again from the store,
 * once nothing is under way any more, and what was refused is looked at afresh.
 */
export class RuleCommits {
  readonly #options: Options;
  /** Commits that the store will have seen when all that are under way go well. */
  #version = 0;
  /** The memory is the store's, or will be. */
  #ready = false;
  #loading: Promise<void> | null = null;
  readonly #underWay = new Set<Promise<unknown>>();
  #cancelTimer: (() => void) | null = null;
  #armedForMs = Infinity;
  #firing: Promise<void> | null = null;
  readonly #stopped = new AbortController();

  constructor(options: Options) {
    this.#options = options;
  }

  /** Reads what the rules remember; from here on they fire by time as well. */
  async start(): Promise<void> {
    if (!this.#ready) await this.#load();
    this.#arm();
  }

  /** Nothing fires by time any more, and what did is durable. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#disarm();
    await this.#firing;
  }

  /** Resolves after the commit. `evaluate` may be called more than once. */
  async commit(given: Given, evaluate: (times: Times) => Evaluated | null): Promise<void> {
    for (let tries = 1; ; tries++) {
      if (!this.#ready) await this.#load();
      const { clock } = this.#options;
      const times = { trustedMs: clock.trusted(), wallMs: clock.wall() };
      const evaluated = this.#evaluated(evaluate, times);
      if (evaluated === null) return;
      try {
        await this.#send(given, evaluated, times);
        return;
      } catch (error) {
        if (!evaluated.stateful || !builtOnFailed(error) || tries >= MAX_TRIES) throw error;
      }
    }
  }

  #evaluated(evaluate: (times: Times) => Evaluated | null, times: Times): Evaluated | null {
    try {
      return evaluate(times);
    } catch (error) {
      // Nobody knows how far it came.
      this.#ready = false;
      throw error;
    }
  }

  async #send(given: Given, evaluated: Evaluated, { wallMs }: Times): Promise<void> {
    const { store, runs, committed } = this.#options;
    const changes = evaluated.changes();
    const events = [
      ...given.events,
      ...evaluated.derived.map(({ event, body }) => eventRow(event, body, wallMs)),
    ];
    const started = [...(given.runs ?? []), ...this.#build(evaluated)];
    if (changes && started.length > 0) linkFindings(changes.findings, started);
    const commit: EventCommit = { ...given, events, runs: started, recordedMs: wallMs };
    if (changes) commit.rules = evaluated.stateful ? { ...changes, version: this.#version++ } : changes;
    const sent = commitRuns(store, runs, commit);
    this.#underWay.add(sent);
    this.#arm();
    let duplicates: number[];
    try {
      duplicates = await sent;
    } catch (error) {
      if (changes) this.#ready = false;
      throw error;
    } finally {
      this.#underWay.delete(sent);
    }
    committed(events.length - duplicates.length, duplicates.length);
  }

  #build(evaluated: Evaluated): EventCommit["runs"] {
    const { rules, runs, log } = this.#options;
    return evaluated.runs.flatMap(({ rule, pipeline, params, event, index }) => {
      try {
        return [
          {
            event: index,
            start: runs.build({ pipeline, starter: { kind: "rule", by: rule }, event, params }),
          },
        ];
      } catch (error) {
        rules.failed(rule, messageOf(error));
        log.error("a rule could not start its pipeline", { rule, pipeline, error: messageOf(error) });
        return [];
      }
    });
  }

  #load(): Promise<void> {
    this.#loading ??= this.#reload().finally(() => (this.#loading = null));
    return this.#loading;
  }

  async #reload(): Promise<void> {
    const { store, rules, clock } = this.#options;
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
    const memory = await store.ruleMemory(rules.keep);
    rules.load(memory, clock.trusted());
    this.#version = memory.version;
    this.#ready = true;
    this.#disarm();
    this.#arm();
  }

  #disarm(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#armedForMs = Infinity;
  }

  #arm(): void {
    const { rules, clock } = this.#options;
    if (this.#stopped.signal.aborted || !this.#ready || this.#firing !== null) return;
    const nowMs = clock.trusted();
    const due = rules.due(nowMs);
    if (due === null || due >= this.#armedForMs) return;
    this.#wake(due, due - nowMs);
  }

  #wake(atMs: number, inMs: number): void {
    this.#disarm();
    this.#armedForMs = atMs;
    this.#cancelTimer = this.#options.clock.after(Math.min(Math.max(0, inMs), MAX_SLEEP_MS), () => {
      this.#disarm();
      this.#firing = this.#fire();
    });
  }

  async #roomOrStop(): Promise<void> {
    const { signal } = this.#stopped;
    const stop = Promise.withResolvers<void>();
    const onStop = () => stop.resolve();
    signal.addEventListener("abort", onStop, { once: true });
    await Promise.race([this.#options.runs.room(), stop.promise]);
    signal.removeEventListener("abort", onStop);
  }

  /** Commits what is due, in portions. */
  async #fire(): Promise<void> {
    const { rules, clock, log } = this.#options;
    let failed = false;
    try {
      let more = true;
      while (more) {
        await this.#roomOrStop();
        if (this.#stopped.signal.aborted) break;
        await this.commit(NOTHING, (times) => {
          const due = rules.due(times.trustedMs);
          more = due !== null && due <= times.trustedMs;
          return more ? rules.fireDue(times) : null;
        });
      }
    } catch (error) {
      failed = true;
      log.warn("what rules have to do by time could not be committed; it is tried again", {
        error: messageOf(error),
      });
    }
    this.#firing = null;
    if (failed && !this.#stopped.signal.aborted) this.#wake(clock.trusted() + RETRY_MS, RETRY_MS);
    else this.#arm();
  }
}

/** A conflict that passes, unlike that of a row which contradicts another. */
function builtOnFailed(error: unknown): boolean {
  return error instanceof HoldfastError && error.code === "conflict" && error.retryable;
}
