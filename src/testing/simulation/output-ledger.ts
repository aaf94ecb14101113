import type { CloudEvent } from "../../model/event.ts";
import type { SimulatedOutput } from "./output-grammar.ts";

/**
 * What one destination got, outside of what crashes take away, against what was committed: each event that is for it at
 * least once, and for the first time in the order of the commits; what does not come was refused or is told as lost.
 */
export class OutputLedger {
  readonly #output: SimulatedOutput;
  readonly #fail: (what: string) => void;
  readonly #numbers = new Map<string, number>();
  /** Numbers of the events that are for it, in the order of the commits. */
  readonly #matching: number[] = [];
  readonly #dealt = new Set<number>();
  /** Place in `#matching` of the first one that is not dealt with. */
  #next = 0;
  /** The last event before the output was there. */
  #begunAfter: number | null = null;
  #isNew = false;

  constructor(output: SimulatedOutput, fail: (invariant: string, what: string) => void) {
    this.#output = output;
    this.#fail = (what) => fail("outputs get each event, in order", `${output.name}: ${what}`);
  }

  committed(n: number, event: CloudEvent): void {
    this.#numbers.set(nameOf(event), n);
    if (this.#output.accepts(event)) this.#matching.push(n);
    if (event.type === "output.lost" && event.subject === this.#output.name) this.#lost(event);
  }

  /** The cursor as an agent that starts finds it. A new output begins with what happens from then on. */
  found(cursor: number | undefined): void {
    this.#isNew = cursor === undefined;
    if (cursor !== undefined && this.#begunAfter === null)
      this.#fail(`its cursor is ${cursor}, and nobody set it`);
  }

  /** The cursor is about to move. */
  moves(to: number): void {
    if (!this.#isNew) return;
    this.#begunAfter = to;
    this.#isNew = false;
  }

  took(events: CloudEvent[]): void {
    let last = 0;
    for (const event of events) {
      const n = this.#numbers.get(nameOf(event));
      if (n === undefined) return this.#fail(`it got ${event.id}, which is not durable`);
      if (!this.#output.accepts(event)) return this.#fail(`it got event ${n}, which is not for it`);
      if (n <= last) return this.#fail(`it got event ${n} after ${last} in one batch`);
      const before = this.#firstOpen();
      if (before !== null && before < n) return this.#fail(`it got event ${n} before ${before}`);
      this.#dealt.add(n);
      last = n;
    }
  }

  /** For good: it comes no more. */
  refused(event: CloudEvent): void {
    this.#dealt.add(this.#numbers.get(nameOf(event))!);
  }

  /** When nothing is to happen any more. */
  ended(): void {
    const open = this.#firstOpen();
    if (open !== null) this.#fail(`event ${open} never came, and is not told as lost`);
  }

  /** A loss is counted for each event that does not come for it. */
  #lost({ data }: CloudEvent): void {
    const { first, last, lost } = data as { first: number; last: number; lost: number };
    const open = this.#matching.filter((n) => n >= first && n <= last && !this.#dealt.has(n));
    for (const n of open) this.#dealt.add(n);
    if (lost < open.length || lost > last - first + 1)
      this.#fail(`${lost} events of ${first} to ${last} are told as lost, ${open.length} had not come`);
  }

  #firstOpen(): number | null {
    const begin = this.#begunAfter ?? Infinity;
    for (let n = this.#matching[this.#next]; n !== undefined; n = this.#matching[++this.#next]) {
      if (n > begin && !this.#dealt.has(n)) return n;
    }
    return null;
  }
}

function nameOf({ source, id }: CloudEvent): string {
  return `${source} ${id}`;
}
