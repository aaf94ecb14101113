import type { ProposedEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import type { Seeded } from "../seeded.ts";
import type { EventLedger, Line } from "./event-ledger.ts";
import { KEYS, REPEATING, TYPES } from "./names.ts";

/** What there is to tell: as long as the world lets it grow, and always the same line at the same place. */
export class LineSource {
  readonly lines: Line[] = [];
  readonly #random: Seeded;

  constructor(
    readonly name: string,
    random: Seeded,
  ) {
    this.#random = random;
  }

  grow(count: number): void {
    const random = this.#random;
    for (let i = 0; i < count; i++) {
      const at = this.lines.length;
      this.lines.push({ at, type: random.pick(TYPES), k: random.pick(KEYS), v: random.int(0, 9) });
    }
  }
}

interface Options {
  source: LineSource;
  position: number;
  /** Some lines come again: only while the store still knows what it had. */
  repeats: boolean;
  ledger: EventLedger;
  random: Seeded;
  record: (
    trigger: string,
    proposed: ProposedEvent[],
    checkpoint: Json | undefined,
    turn: Promise<void>,
  ) => Promise<void>;
  checkpoint: (trigger: string) => Promise<Json | undefined>;
  dead: () => boolean;
}

const MAX_UNANSWERED = 2;

/** A trigger in one life of the agent: goes on from its checkpoint, and from there again when an emit was refused. */
export class SimulatedTrigger {
  readonly #options: Options;
  #position: number;
  #last: Promise<void> = Promise.resolve();
  #unanswered = 0;
  #refused = false;

  constructor(options: Options) {
    this.#options = options;
    this.#position = options.position;
  }

  get behind(): number {
    return this.#options.source.lines.length - this.#position + this.#unanswered;
  }

  /** Emits the next lines. False when there is nothing to emit now. */
  emit(count: number): boolean {
    const { source, random, record, repeats } = this.#options;
    if (this.#refused || this.#unanswered >= MAX_UNANSWERED) return false;
    const lines = source.lines.slice(this.#position, this.#position + count);
    if (lines.length === 0) return false;
    this.#position += lines.length;
    const repeated =
      repeats && source.name === REPEATING && random.chance(0.3)
        ? source.lines.slice(Math.max(0, lines[0]!.at - random.int(1, 4)), lines[0]!.at)
        : [];
    const told = [...repeated, ...lines].map((line) => this.#proposed(line));
    this.#unanswered++;
    // The turn of the next one comes when this one was kept; refused, the next one is refused too.
    const turn = this.#last;
    const kept = record(source.name, told, this.#position, turn);
    this.#last = kept;
    kept.then(
      () => this.#answered(lines),
      () => (this.#refused = true),
    );
    void kept.catch(() => {}).then(() => this.#settled());
    return true;
  }

  #answered(lines: Line[]): void {
    const { dead, ledger, source } = this.#options;
    if (!dead()) ledger.answered(source.name, lines);
  }

  async #settled(): Promise<void> {
    this.#unanswered--;
    if (!this.#refused || this.#unanswered > 0) return;
    const { checkpoint, source } = this.#options;
    const position = await checkpoint(source.name).catch(() => null);
    if (position === null) return;
    this.#position = (position as number | undefined) ?? 0;
    this.#last = Promise.resolve();
    this.#refused = false;
  }

  #proposed(line: Line): ProposedEvent {
    const { source } = this.#options;
    const { at, type, k, v } = line;
    const id = source.name === REPEATING ? { id: `line-${at}` } : {};
    return { type, data: { at, k, v, type }, ...id };
  }
}
