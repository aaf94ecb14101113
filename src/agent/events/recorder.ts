import type { Clock } from "../../core/clock.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import { type CloudEvent, eventSource, type ProposedEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import { commitRuns } from "./commit-runs.ts";
import { checkedRow, envelope } from "./envelope.ts";
import type {
  Evaluated,
  EventCommit,
  EventRow,
  EventStorePort,
  LaterEnding,
  RulesPort,
  RunsPort,
  Started,
  StartingEvent,
  Times,
} from "./ports.ts";
import { RuleCommits } from "./rule-commits.ts";

export interface RecorderCounters {
  events: number;
  duplicates: number;
  refused: number;
  commits: number;
}

export interface RecorderOptions {
  agentId: string;
  store: EventStorePort;
  rules: RulesPort;
  runs: RunsPort;
  clock: Clock;
  ids: Ids;
  log: Logger;
  maxEventBytes: number;
}

/**
 * From what a trigger yields to what is kept: makes CloudEvents, asks the rules, and commits events, runs, outbox rows,
 * what the rules remember and the checkpoint in one transaction. Resolves after the commit; rejects when the emit was
 * refused as a whole. `turn` settles with the trigger's emit before: this one is made ready meanwhile, and is kept only
 * after it.
 */
export class EventRecorder {
  readonly counters: RecorderCounters = { events: 0, duplicates: 0, refused: 0, commits: 0 };
  readonly #options: RecorderOptions;
  readonly #ruleCommits: RuleCommits;
  /** The last emit of a trigger whose events bring ids. */
  readonly #tails = new Map<string, Promise<void>>();

  constructor(options: RecorderOptions) {
    this.#options = options;
    const { store, rules, runs, clock, log } = options;
    this.#ruleCommits = new RuleCommits({
      store,
      rules,
      runs,
      clock,
      log,
      committed: (kept, duplicates) => this.#count(kept, duplicates),
    });
  }

  /** To be called once before the first emit: reads what the rules remember, and lets them fire by time. */
  start(): Promise<void> {
    return this.#ruleCommits.start();
  }

  /** Rules fire by time no longer. */
  stop(): Promise<void> {
    return this.#ruleCommits.stop();
  }

  /** Commits what rules make of something that is no event. `evaluate` may be called more than once; null commits nothing. */
  async recordChange(evaluate: (times: Times) => Evaluated | null): Promise<void> {
    await this.#options.runs.room();
    await this.#ruleCommits.commit({ trigger: "", events: [], checkpoint: undefined }, evaluate);
  }

  async record(
    trigger: string,
    proposed: ProposedEvent[],
    checkpoint: Json | undefined,
    turn: Promise<void> = Promise.resolve(),
  ): Promise<void> {
    try {
      if (this.#options.rules.concerns(trigger)) {
        // Rules see one batch after the other: what they make of one depends on what became of the batch before.
        await turn;
        await this.#options.runs.room();
        await this.#recordForRules(trigger, proposed, checkpoint);
      } else await this.#recordPlain(trigger, proposed, checkpoint, turn);
    } catch (error) {
      this.counters.refused += proposed.length;
      throw error;
    }
  }

  /**
   * Events of a schedule, kept together with the runs that they start and with where it stands. One that was there already
   * starts nothing again. Throws what keeps a run from being made; nothing is kept then. The caller has waited for room.
   */
  async recordStarting(
    trigger: string,
    given: StartingEvent[],
    kept: { checkpoint?: Json; later?: LaterEnding },
  ): Promise<Started[]> {
    const concerned = this.#options.rules.concerns(trigger);
    const { store, agentId } = this.#options;
    const ids = given.map(({ event }) => event.id);
    // Rules must not see an event twice; without them the store's word at the commit is enough.
    const known =
      concerned && ids.length > 0 ? await store.knownEvents(eventSource(agentId, trigger), ids) : [];
    const fresh = given.filter(({ event }) => !known.includes(event.id));
    this.counters.duplicates += known.length;
    const runs = await this.#commitStarting(trigger, fresh, kept, concerned);
    return ids.map((id) => ({ kept: runs.has(id), run: runs.get(id) ?? null }));
  }

  /** Ids of the runs by those of the new events. */
  async #commitStarting(
    trigger: string,
    fresh: StartingEvent[],
    kept: { checkpoint?: Json; later?: LaterEnding },
    concerned: boolean,
  ) {
    const beside = { checkpoint: kept.checkpoint, ...(kept.later ? { later: kept.later } : {}) };
    const { clock, rules, runs, store } = this.#options;
    const made: CloudEvent[] = [];
    const recordedMs = clock.wall();
    const proposed = fresh.map(({ event }) => event);
    const events = this.#rows(trigger, proposed, recordedMs, (event) => {
      made.push(Object.assign(event, fresh[made.length]!.chain));
    });
    const starts: EventCommit["runs"] = fresh.flatMap(({ start }, index) =>
      start === null ? [] : [{ event: index, start: runs.build({ ...start, event: made[index]! }) }],
    );
    let duplicates: number[] = [];
    if (concerned) {
      const given = made.map((event) => ({ event, timed: false }));
      await this.#ruleCommits.commit({ trigger, events, ...beside, runs: starts }, (times) =>
        rules.evaluate(trigger, given, times),
      );
    } else {
      duplicates = await commitRuns(store, runs, { trigger, events, runs: starts, ...beside, recordedMs });
      this.#count(events.length - duplicates.length, duplicates.length);
    }
    const runOf = new Map(starts.map(({ event, start }) => [event, start.run.id]));
    return new Map(
      made.flatMap(({ id }, index) =>
        duplicates.includes(index) ? [] : [[id, runOf.get(index) ?? null] as const],
      ),
    );
  }

  async #recordPlain(
    trigger: string,
    proposed: ProposedEvent[],
    checkpoint: Json | undefined,
    turn: Promise<void>,
  ): Promise<void> {
    const { store, clock } = this.#options;
    const recordedMs = clock.wall();
    const events = this.#rows(trigger, proposed, recordedMs);
    await turn;
    const { duplicates } = await store.commitEvents({ trigger, events, runs: [], checkpoint, recordedMs });
    this.#count(events.length - duplicates.length, duplicates.length);
  }

  /** Only an event that brings its id can be a repeated one. Rules must not see it twice, so the store is asked first. */
  async #recordForRules(
    trigger: string,
    proposed: ProposedEvent[],
    checkpoint: Json | undefined,
  ): Promise<void> {
    if (proposed.every((item) => item.id === undefined))
      return this.#evaluateAndCommit(trigger, proposed, checkpoint);
    return this.#afterTail(trigger, async () => {
      const fresh = await this.#notKnown(trigger, proposed);
      this.counters.duplicates += proposed.length - fresh.length;
      if (fresh.length > 0 || checkpoint !== undefined)
        await this.#evaluateAndCommit(trigger, fresh, checkpoint);
    });
  }

  #evaluateAndCommit(
    trigger: string,
    proposed: ProposedEvent[],
    checkpoint: Json | undefined,
  ): Promise<void> {
    const { clock, rules } = this.#options;
    const given: { event: CloudEvent; timed: boolean }[] = [];
    const events = this.#rows(trigger, proposed, clock.wall(), (event) =>
      given.push({ event, timed: proposed[given.length]!.time !== undefined }),
    );
    return this.#ruleCommits.commit({ trigger, events, checkpoint }, (times) =>
      rules.evaluate(trigger, given, times),
    );
  }

  /** The events of a trigger; `each` sees those that rules have to look at. */
  #rows(
    trigger: string,
    proposed: ProposedEvent[],
    nowMs: number,
    each?: (event: CloudEvent) => void,
  ): EventRow[] {
    const { agentId, ids, maxEventBytes } = this.#options;
    const now = new Date(nowMs).toISOString();
    const source = eventSource(agentId, trigger);
    const newId = () => ids.next();
    return proposed.map((item) => {
      const event = envelope(source, item, now, newId);
      each?.(event);
      return checkedRow(event, nowMs, maxEventBytes);
    });
  }

  async #notKnown(trigger: string, proposed: ProposedEvent[]): Promise<ProposedEvent[]> {
    const ids = proposed.flatMap((item) => item.id ?? []);
    const source = eventSource(this.#options.agentId, trigger);
    const known = new Set(await this.#options.store.knownEvents(source, ids));
    return proposed.filter(({ id }) => {
      if (id === undefined) return true;
      if (known.has(id)) return false;
      known.add(id);
      return true;
    });
  }

  /** One after the other, also for a caller that does not wait its turn: two with the same id must not pass together. */
  async #afterTail(trigger: string, work: () => Promise<void>): Promise<void> {
    const done = (this.#tails.get(trigger) ?? Promise.resolve()).then(work);
    const settled = done.catch(() => {});
    this.#tails.set(trigger, settled);
    try {
      await done;
    } finally {
      if (this.#tails.get(trigger) === settled) this.#tails.delete(trigger);
    }
  }

  #count(kept: number, duplicates: number): void {
    this.counters.commits++;
    this.counters.events += kept;
    this.counters.duplicates += duplicates;
  }
}
