import { type CloudEvent, eventSource } from "../../model/event.ts";
import type { RuleReference } from "./rule-reference.ts";
import { AGENT_ID, TRIGGERS } from "./names.ts";
import type { OutputLedger } from "./output-ledger.ts";
import type { ScheduleLedger } from "./schedule-ledger.ts";
import type { Story } from "./story.ts";

/** One line that a trigger has to tell of: its place, and what it says. */
export interface Line {
  at: number;
  type: string;
  k: string;
  v: number;
}

interface Options {
  story: Story;
  reference: RuleReference;
  schedules: ScheduleLedger;
  outputs: OutputLedger[];
  /** Trusted time at which the recorder last sent an event to the store. */
  sentAt: (source: string, id: string) => number;
}

/**
 * What the triggers have to tell, outside of what crashes take away, against what was committed: each line exactly once,
 * and no checkpoint ahead of its lines.
 */
export class EventLedger {
  /** Everything committed, `source id`, in the order of the commits. */
  readonly events: string[] = [];
  /** What people emitted and was answered. */
  readonly acknowledged = new Set<string>();
  /** `rule id` of each event that a rule emitted, with the id of the event that caused it. */
  readonly emitted: string[] = [];
  readonly #options: Options;
  readonly #lines = new Map<string, Set<number>>(TRIGGERS.map((trigger) => [trigger, new Set()]));
  readonly #known = new Set<string>();

  constructor(options: Options) {
    this.#options = options;
  }

  committed(n: number, event: CloudEvent): void {
    const { story, reference, schedules, outputs, sentAt } = this.#options;
    const name = `${event.source} ${event.id}`;
    story.note(`event ${name}`);
    if (this.#known.has(name)) story.fail("no event doubled", `${name} is there twice`);
    this.#known.add(name);
    this.events.push(name);
    const trigger = event.source.slice(eventSource(AGENT_ID, "").length);
    if (trigger.startsWith("rule:")) this.emitted.push(`${trigger.slice(5)} ${event.causationid}`);
    const lines = this.#lines.get(trigger);
    if (lines) {
      const { at } = event.data as unknown as Line;
      if (lines.has(at)) story.fail("no event doubled", `line ${at} of ${trigger} is there twice`);
      lines.add(at);
    }
    schedules.committed(trigger, event);
    for (const output of outputs) output.committed(n, event);
    reference.committed(trigger, event, sentAt(event.source, event.id));
  }

  /** A trigger's checkpoint has moved: everything before it must be there. */
  moved(trigger: string, position: number): void {
    this.#options.schedules.moved(trigger, position);
    const lines = this.#lines.get(trigger);
    if (!lines) return;
    for (let at = 0; at < position; at++) {
      if (lines.has(at)) continue;
      return this.#options.story.fail(
        "no event lost",
        `the checkpoint of ${trigger} is ${position}, and line ${at} is not there`,
      );
    }
  }

  /** The recorder has answered: what it answered for must be there now. */
  answered(trigger: string, lines: Line[]): void {
    const there = this.#lines.get(trigger)!;
    for (const { at } of lines) {
      if (!there.has(at))
        this.#options.story.fail("no event lost", `line ${at} of ${trigger} was answered and is not there`);
    }
  }

  has(source: string, id: string): boolean {
    return this.#known.has(`${source} ${id}`);
  }

  count(trigger: string): number {
    return this.#lines.get(trigger)!.size;
  }
}
