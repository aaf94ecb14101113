import type { CloudEvent } from "../../model/event.ts";
import { findingDeed, isEmitted, isLost, rootOf, rootOfEvent } from "./deeds.ts";
import type { Deed, PastEvent, PastPort, PastRun } from "./ports.ts";

const RUNS_PAGE = 500;
/** A commit has fewer events than this. */
const MAX_GIVEN = 20_000;

/** The runs that rules started in the past, as they are reached. */
export class PastRuns {
  readonly #past: PastPort;
  readonly #fromEvent: number;
  #page: PastRun[] = [];
  #next = 0;
  #after = 0;
  #ended = false;

  constructor(past: PastPort, fromEvent: number) {
    this.#past = past;
    this.#fromEvent = fromEvent;
  }

  /** Those of events up to `n` that were not taken yet. */
  take(n: number): PastRun[] {
    const taken: PastRun[] = [];
    for (let run = this.#peek(); run !== undefined && run.eventN <= n; run = this.#peek()) {
      taken.push(run);
      this.#next++;
    }
    return taken;
  }

  #peek(): PastRun | undefined {
    if (this.#next === this.#page.length && !this.#ended) {
      this.#page = this.#past.runs(this.#after, this.#fromEvent, RUNS_PAGE);
      this.#next = 0;
      this.#ended = this.#page.length === 0;
      this.#after = this.#page.at(-1)?.n ?? this.#after;
    }
    return this.#page[this.#next];
  }
}

/**
 * Stored events that were committed together, so far as that can be seen: those that came from elsewhere, then those that
 * rules made of them. Runs of the past find here what they go back to.
 */
export class Block {
  readonly #given: { id: string; n: number }[] = [];
  readonly #derived = new Map<number, { root: string; event: CloudEvent }>();
  /** Of the events here, by id; filled up to `#rooted` of those given. */
  readonly #roots = new Map<string, string>();
  #rooted = 0;
  #recordedMs = 0;
  #last = 0;
  proposed: Deed[] = [];
  #past: Deed[] = [];
  readonly emitted: string[] = [];

  /** False when this event was committed later than those here. */
  takes({ recordedMs }: PastEvent, isDerived: boolean): boolean {
    if (this.#last === 0) return true;
    if (recordedMs !== this.#recordedMs) return false;
    return isDerived || (this.#derived.size === 0 && this.#given.length < MAX_GIVEN);
  }

  give(event: PastEvent): void {
    this.#given.push({ id: event.id, n: event.n });
    this.#reach(event);
  }

  derive(row: PastEvent, event: CloudEvent, rule: string): void {
    this.#reach(row);
    for (; this.#rooted < this.#given.length; this.#rooted++) {
      const { id, n } = this.#given[this.#rooted]!;
      this.#roots.set(id, rootOfEvent(n));
    }
    const root = rootOf(event, rule, (id) => this.#roots.get(id));
    this.#roots.set(event.id, root);
    this.#derived.set(row.n, { root, event });
    const deed = findingDeed(event, rule, root, row.recordedMs);
    if (deed) this.#past.push(deed);
    else if (isEmitted(event)) this.emitted.push(rule);
  }

  /** What happened here; not what goes back to an event that is no longer kept. */
  past(runs: PastRuns): Deed[] {
    for (const run of runs.take(this.#last)) this.#past.push(this.#deed(run));
    return this.#past.filter(({ root }) => !isLost(root));
  }

  #deed({ id, rule, pipeline, eventN, params, createdMs }: PastRun): Deed {
    const derived = this.#derived.get(eventN);
    const root = derived?.root ?? rootOfEvent(eventN);
    const event = derived?.event;
    return {
      kind: "run",
      rule,
      what: pipeline,
      root,
      atMs: createdMs,
      event: event
        ? { source: event.source, id: event.id, type: event.type, subject: event.subject ?? null }
        : null,
      detail: params,
      run: id,
    };
  }

  #reach({ n, recordedMs }: PastEvent): void {
    this.#last = n;
    this.#recordedMs = recordedMs;
  }
}
