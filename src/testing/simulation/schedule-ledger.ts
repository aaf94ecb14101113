import { JUMP_MS } from "../../core/time-watch.ts";
import type { CloudEvent } from "../../model/event.ts";
import {
  isByWall,
  MAX_COUNTED,
  nextDue,
  SCHEDULE_PREFIX,
  type ScheduleDefinition,
  type ScheduleMemory,
  spreadOffset,
} from "../../model/schedule.ts";
import { AGENT_ID } from "./names.ts";
import type { Story } from "./story.ts";

interface Told {
  /** Due times that fired in a commit, and how many are told to be missed. */
  fired: number[];
  missed: number;
}

interface Known {
  definition: ScheduleDefinition;
  offsetMs: number;
  memory: ScheduleMemory | null;
  text: string;
  /** Since the memory was last seen to change. */
  told: Told;
  /** All that ever fired. */
  fired: Set<number>;
}

/** Due times further back than this are not counted one by one. */
const LONGEST_MS = 2 * 86_400_000;
/** The agent looks at its clock this often: what was due so shortly before a jump may still be on time. */
const LOOKS_MS = 6_000;

/**
 * What the schedules promise, by what is committed: each due time is settled once, in the commit that says so, and fires or
 * is told to be missed as the policy has it.
 */
export class ScheduleLedger {
  readonly #known: Map<string, Known>;
  readonly #story: Story;
  /** What the wall clock jumped over in this life of the agent, and has not come back to. */
  #over: { from: number; to: number }[] = [];
  #backAt = -Infinity;

  constructor(definitions: ScheduleDefinition[], story: Story) {
    this.#story = story;
    this.#known = new Map(
      definitions.map((definition) => [
        SCHEDULE_PREFIX + definition.name,
        {
          definition,
          offsetMs: spreadOffset(AGENT_ID, definition.name, definition.spreadMs),
          ...{ memory: null, text: "", told: { fired: [], missed: 0 }, fired: new Set<number>() },
        },
      ]),
    );
  }

  /** Another life: what was due a moment before it is on time, whatever the clock did. */
  begun(): void {
    this.#over = [];
  }

  /** The wall clock is set while the agent is at work. */
  jumped(from: number, to: number, monoMs: number): void {
    const isBack = to < from;
    if (isBack) this.#backAt = monoMs;
    if (isBack || monoMs - this.#backAt < LOOKS_MS) this.#over = [];
    else if (to - from > JUMP_MS) this.#over.push({ from, to: to - LOOKS_MS });
  }

  /** When one by the calendar is due next after that; null where there is none. */
  nextByCalendar(afterMs: number): number | null {
    const known = [...this.#known.values()].find(({ definition }) => definition.timing.kind === "cron");
    return known ? (nextDue(known.definition.timing, known.offsetMs, afterMs)?.atMs ?? null) : null;
  }

  committed(trigger: string, { type, data }: CloudEvent): void {
    const known = this.#known.get(trigger);
    if (!known) return;
    const { scheduledMs, missed = 0 } = data as { scheduledMs?: number; missed?: number };
    known.told.missed += missed;
    if (type !== "schedule.due") return;
    if (known.fired.has(scheduledMs!)) this.#fail(known, `${scheduledMs} fired twice`);
    known.told.fired.push(scheduledMs!);
    const { timing, missed: policy } = known.definition;
    const isOver =
      isByWall(timing) && this.#over.some(({ from, to }) => scheduledMs! > from && scheduledMs! <= to);
    if (isOver && policy === "skip") this.#fail(known, `${scheduledMs}, which the clock jumped over, fired`);
  }

  /** What the schedule remembers is durable, with the events of the same commit. */
  moved(trigger: string, value: unknown): void {
    const known = this.#known.get(trigger);
    const text = JSON.stringify(value);
    if (!known || known.text === text) return;
    const before = known.memory;
    const after = value as ScheduleMemory;
    const { told } = known;
    if (told.fired.length > 0 && before?.paused) this.#fail(known, "it fired while it was paused");
    if (before && !before.paused && !after.paused) this.#settled(known, before.cursorMs, after.cursorMs);
    for (const at of told.fired) known.fired.add(at);
    Object.assign(known, { memory: after, text, told: { fired: [], missed: 0 } });
  }

  #settled(known: Known, from: number, to: number): void {
    const { definition, offsetMs, told } = known;
    const { timing, missed: policy, maxMissed } = definition;
    if (timing.kind === "init") return this.#init(known);
    const next = (afterMs: number) => nextDue(timing, offsetMs, afterMs)?.atMs;
    const due = dueTimes(definition, offsetMs, shortened(definition, from, to), to);
    // Also after the wall clock was set back.
    const isDue = (at: number) => (timing.kind === "every" ? due.includes(at) : next(at - 1) === at);
    const wrong = told.fired.find((at) => !isDue(at));
    if (wrong !== undefined) this.#fail(known, `${wrong} fired and is not due`);
    // Where the wall clock was set back the cursor was as well, before this commit.
    const setBack = to < from || due.some((at) => known.fired.has(at));
    if (setBack) return;
    const name = `${told.fired.length} fired and ${told.missed} missed of ${due.length} due (${policy})`;
    const most = policy === "all" ? maxMissed + 1 : 1;
    const least = policy === "skip" ? 0 : policy === "once" ? 1 : Math.min(due.length, maxMissed);
    const newest = due.slice(due.length - told.fired.length).join();
    if (due.length === 0) {
      if (told.fired.length + told.missed > 0) this.#fail(known, name);
      return;
    }
    if (told.fired.length > most || told.fired.length < least) this.#fail(known, name);
    if (told.fired.join() !== newest) this.#fail(known, `not the newest fired: ${name}`);
    if (to - from > LONGEST_MS) return;
    if (told.fired.length + told.missed !== Math.min(due.length, MAX_COUNTED + 1))
      this.#fail(known, `not all are told: ${name}`);
  }

  /** Once in each life of the agent, or once for ever. */
  #init({ definition, told, fired }: Known): void {
    const { timing, name } = definition;
    const most = timing.kind === "init" && timing.once ? 1 - Math.min(1, fired.size) : 1;
    if (told.fired.length > most || told.missed > 0)
      this.#story.fail("schedules by their policy", `${name}, which is for the start, fired again`);
  }

  #fail({ definition: { name } }: Known, what: string): void {
    this.#story.fail("schedules by their policy", `${name}: ${what}`);
  }

  /** When nothing is to happen any more: what is due before now has been settled. */
  ended(wallMs: number, trustedMs: number): void {
    for (const known of this.#known.values()) {
      const { definition, memory, offsetMs } = known;
      const { kind } = definition.timing;
      if (memory === null) {
        this.#fail(known, "nothing is remembered of it");
        continue;
      }
      if (memory.paused || kind === "init") continue;
      const next = nextDue(definition.timing, offsetMs, memory.cursorMs)?.atMs ?? Infinity;
      if (next <= (kind === "every" ? trustedMs : wallMs))
        this.#fail(known, `${next} is due and not settled`);
    }
  }
}

function dueTimes({ timing }: ScheduleDefinition, offsetMs: number, from: number, to: number): number[] {
  const due: number[] = [];
  let next = nextDue(timing, offsetMs, from);
  for (; next !== null && next.atMs <= to; next = nextDue(timing, offsetMs, next.atMs)) due.push(next.atMs);
  return due;
}

/** Where the counting begins: not further back than is counted, and on the grid of an interval. */
function shortened({ timing }: ScheduleDefinition, from: number, to: number): number {
  const over = Math.max(0, to - LONGEST_MS - from);
  return timing.kind === "every" ? from + Math.floor(over / timing.everyMs) * timing.everyMs : from + over;
}
