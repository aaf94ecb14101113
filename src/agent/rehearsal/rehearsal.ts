import { messageOf } from "../../core/errors.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { FindingRow } from "../../model/rule.ts";
import { Block, PastRuns } from "./block.ts";
import { deedsOf, isTimed, type Origin, originOf, personOf, rootOfEvent } from "./deeds.ts";
import { pairUp, TimedPairs, told } from "./pairing.ts";
import { People } from "./people.ts";
import type { PastClock } from "./past-clock.ts";
import type { BuildRun, Compared, Deed, Evaluated, PastEvent, PastPort, RulesPort, Times } from "./ports.ts";
import { isTimedBy } from "./read-event.ts";
import { Repeats } from "./repeats.ts";
import type { Span } from "./span.ts";
import { type RuleTally, Tally } from "./tally.ts";

/** Each may be as large as an event can be. */
const PAGE = 250;
/** Evaluations by time alone after which what they gave is taken away. */
const FIRED = 200;
const MAX_ORIGINS = 10_000;

export interface RehearsalOptions {
  past: PastPort;
  clock: PastClock;
  span: Span;
  rules: RulesPort;
  build: BuildRun;
  openFindings: FindingRow[];
  /** Is moved on with the rehearsal's clock. */
  moment: Times;
  /** One line of the result; those of one event come together. */
  tell: (compared: Compared) => void;
  /** Called now and then: resolves when what was told is taken. */
  settle: (progress: { events: number; of: number }) => Promise<void>;
  signal: AbortSignal;
}

export interface Rehearsed {
  rules: RuleTally[];
  /** Events that counted, those that rules had made not among them. */
  events: number;
  /** Before this event runs are no longer kept, and could not be compared; 0 where all are. */
  runsKeptFrom: number;
}

/**
 * The proposed rules look at what the store holds, in the order in which it came, on a clock that goes as the agent's did.
 * Beside it goes what happened. Memory does not grow with the length of the past.
 */
export class Rehearsal {
  readonly #options: RehearsalOptions;
  readonly #tally: Tally;
  readonly #timed = new TimedPairs();
  readonly #runs: PastRuns;
  readonly #keptFrom: number;
  readonly #origins = new Map<string, Origin | null>();
  readonly #people: People;
  readonly #repeats = new Repeats();
  #block = new Block();
  #trustedMs: number;
  /** What the wall clock was ahead. */
  #aheadMs = 0;
  #last: PastEvent | null = null;
  #counting = false;
  #events = 0;

  constructor(options: RehearsalOptions) {
    this.#options = options;
    const { past, rules, span, openFindings } = options;
    this.#trustedMs = span.warmMs;
    rules.load({ states: [], entries: [], openFindings }, span.warmMs);
    this.#people = new People(rules, openFindings);
    this.#tally = new Tally(rules.counters().map(({ rule }) => rule));
    this.#runs = new PastRuns(past, span.from);
    this.#keptFrom = past.runsKeptFrom();
  }

  async run(): Promise<Rehearsed> {
    const { past, span, settle, signal } = this.#options;
    const of = span.to - span.warmFrom + 1;
    for (let after = span.warmFrom - 1; ;) {
      const page = past.events(after, span.to, PAGE);
      if (page.length === 0) break;
      for (const event of page) {
        const atMs = this.#arrive(event);
        if (this.#isDue(atMs)) await this.#pass(atMs);
        this.#take(event, atMs);
      }
      after = page.at(-1)!.n;
      await settle({ events: after - span.warmFrom + 1, of });
      signal.throwIfAborted();
    }
    this.#flush();
    await this.#pass(span.untilMs);
    this.#begin();
    this.#countPastRepeats();
    for (const compared of this.#timed.expire(Infinity)) this.#tell(compared);
    await settle({ events: of, of });
    return {
      rules: this.#tally.end(this.#options.rules.counters()),
      events: this.#events,
      runsKeptFrom: this.#keptFrom <= span.from ? 0 : this.#keptFrom,
    };
  }

  /** When it comes, on the rehearsal's clock. */
  #arrive(event: PastEvent): number {
    const isDerived = this.#origin(event.source)?.rule != null;
    if (!this.#block.takes(event, isDerived)) this.#flush();
    const before = this.#last;
    this.#last = event;
    if (before === null) return this.#options.span.firstMs;
    return this.#trustedMs + this.#options.clock.elapsed(before.recordedMs, event.recordedMs, event.n);
  }

  #take(event: PastEvent, atMs: number): void {
    this.#trustedMs = atMs;
    this.#aheadMs = event.recordedMs - atMs;
    if (event.n >= this.#options.span.from) this.#begin();
    const origin = this.#origin(event.source);
    if (origin !== null) this.#look(event, origin);
  }

  #look(event: PastEvent, origin: Origin): void {
    const { past, rules } = this.#options;
    if (origin.rule !== null) return this.#lookBack(event, origin.rule);
    if (this.#counting) this.#events++;
    this.#block.give(event);
    if (!rules.wants(origin.trigger, event.type)) return;
    const body = JSON.parse(past.body(event)) as CloudEvent;
    const given = [{ event: body, timed: isTimedBy(origin.trigger, body, event) }];
    const evaluated = rules.evaluate(origin.trigger, given, this.#times());
    this.#note(evaluated, { id: body.id, n: event.n });
    this.#countRepeats(evaluated);
  }

  /** A rule made this event; what a person did is told in the name of a rule as well. */
  #lookBack(row: PastEvent, rule: string): void {
    const event = JSON.parse(this.#options.past.body(row)) as CloudEvent;
    const over = this.#counting ? this.#repeats.past(event) : null;
    if (over !== null) this.#tally.of(over.rule).past.repeated += over.repeats;
    const person = personOf(event);
    if (person === null) return this.#block.derive(row, event, rule);
    this.#block.give(row);
    const evaluated = this.#people.repeat(event, person, this.#times());
    const [told] = evaluated?.derived ?? [];
    if (evaluated && told) this.#note(evaluated, { id: told.event.id, n: row.n });
  }

  #isDue(atMs: number): boolean {
    const dueMs = this.#options.rules.due(this.#trustedMs);
    return dueMs !== null && dueMs <= atMs;
  }

  /** Moves on, and fires what comes due on the way. */
  async #pass(toMs: number): Promise<void> {
    const { rules, span, settle } = this.#options;
    for (let fired = 1; this.#isDue(toMs); fired++) {
      this.#trustedMs = Math.max(this.#trustedMs, rules.due(this.#trustedMs)!);
      if (this.#trustedMs >= span.fromMs) this.#begin();
      const evaluated = rules.fireDue(this.#times());
      if (evaluated !== null) {
        this.#note(evaluated, null);
        this.#countRepeats(evaluated);
      }
      if (fired % FIRED === 0) {
        const events = (this.#last?.n ?? span.warmFrom) - span.warmFrom;
        await settle({ events, of: span.to - span.warmFrom + 1 });
      }
    }
    this.#trustedMs = Math.max(this.#trustedMs, toMs);
  }

  /** `root`: the event with this id stands for the stored one. */
  #note(evaluated: Evaluated, root: { id: string; n: number } | null): void {
    this.#people.see(evaluated);
    if (!this.#counting || evaluated.derived.length + evaluated.runs.length === 0) return;
    const roots = new Map(root ? [[root.id, rootOfEvent(root.n)]] : []);
    const { deeds, runs, emitted } = deedsOf(evaluated, roots, this.#times().wallMs);
    for (const rule of emitted) this.#tally.of(rule).proposed.emitted++;
    for (const deed of deeds) this.#propose(deed);
    for (const { deed, asked } of runs) {
      try {
        this.#propose({ ...deed, detail: this.#options.build(asked) });
      } catch (error) {
        const reason = messageOf(error);
        this.#options.rules.failed(deed.rule, reason);
        this.#tell({ ...told("failed", deed), reason });
      }
    }
  }

  #propose(deed: Deed): void {
    if (!isTimed(deed.root)) return void this.#block.proposed.push(deed);
    const compared = this.#timed.add("added", deed, this.#trustedMs);
    if (compared !== null) this.#tell(compared);
    for (const each of this.#timed.expire(this.#trustedMs)) this.#tell(each);
  }

  #countRepeats(evaluated: Evaluated): void {
    if (!this.#counting) return;
    for (const row of evaluated.findings())
      if (this.#repeats.propose(row)) this.#tally.of(row.rule).proposed.repeated++;
  }

  #countPastRepeats(): void {
    for (const [id, rule] of this.#repeats.pastOpen())
      this.#tally.of(rule).past.repeated += (this.#options.past.findingCount(id) ?? 1) - 1;
  }

  /** Holds what the rules made of the block against what happened. */
  #flush(): void {
    const block = this.#block;
    this.#block = new Block();
    if (!this.#counting) return;
    const past = block.past(this.#runs);
    for (const rule of block.emitted) this.#tally.of(rule).past.emitted++;
    const byEvent = past.filter(({ root }) => !isTimed(root));
    for (const compared of pairUp(block.proposed, byEvent)) this.#tell(compared);
    for (const deed of past) {
      const compared = isTimed(deed.root) ? this.#timed.add("removed", deed, this.#trustedMs) : null;
      if (compared !== null) this.#tell(compared);
    }
    for (const compared of this.#timed.expire(this.#trustedMs)) this.#tell(compared);
  }

  #tell(compared: Compared): void {
    const { deed, verdict } = compared;
    const forgotten = verdict === "added" && deed.kind === "run" && (this.#last?.n ?? 0) < this.#keptFrom;
    const line: Compared = forgotten ? { ...compared, verdict: "unknown" } : compared;
    this.#tally.count(line);
    this.#options.tell(line);
  }

  /** From here on it counts. */
  #begin(): void {
    if (this.#counting) return;
    this.#block = new Block();
    this.#counting = true;
    this.#tally.begin(this.#options.rules.counters());
  }

  #times(): Times {
    const times = { trustedMs: this.#trustedMs, wallMs: this.#trustedMs + this.#aheadMs };
    Object.assign(this.#options.moment, times);
    return times;
  }

  #origin(source: string): Origin | null {
    let origin = this.#origins.get(source);
    if (origin === undefined) {
      if (this.#origins.size >= MAX_ORIGINS) this.#origins.clear();
      origin = originOf(source);
      this.#origins.set(source, origin);
    }
    return origin;
  }
}
