import type { CloudEvent } from "../../model/event.ts";
import type { PartialTaking } from "../../model/output-batch.ts";

/** An event that waits for its output. */
export interface Waiting {
  n: number;
  event: CloudEvent;
  bytes: number;
}

export interface BacklogPorts {
  eventsAfter(n: number, limit: number): Promise<{ n: number; body: string }[]>;
  accepts(event: CloudEvent): boolean;
}

/** Numbers of events that were gone from the store before they were read. */
export interface Gap {
  first: number;
  last: number;
}

/** Rows that one read asks for. */
const PAGE = 256;

/**
 * The events of one output, read ahead in their order. Each is matched once, when it is read; it stays here until the
 * destination is done with it.
 */
export class Backlog {
  readonly #ports: BacklogPorts;
  #waiting: Waiting[] = [];
  #bytes = 0;
  #readTo: number;
  readonly gaps: Gap[] = [];

  constructor(cursor: number, ports: BacklogPorts) {
    this.#readTo = cursor;
    this.#ports = ports;
  }

  /** Everything up to this number is done with. */
  get cursor(): number {
    const first = this.#waiting[0];
    return first ? first.n - 1 : this.#readTo;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  holds(limit: { events: number; bytes: number }): boolean {
    return this.#waiting.length >= limit.events || this.#bytes >= limit.bytes;
  }

  /** Reads one page, not beyond the number `to`; false when there is nothing more up to it. */
  async readPage(to = Number.MAX_SAFE_INTEGER): Promise<boolean> {
    const limit = Math.min(PAGE, to - this.#readTo);
    if (limit <= 0) return false;
    const rows = await this.#ports.eventsAfter(this.#readTo, limit);
    for (const { n, body } of rows) {
      const before = Math.min(n - 1, to);
      if (before > this.#readTo) this.gaps.push({ first: this.#readTo + 1, last: before });
      this.#readTo = Math.min(n, to);
      if (n > to) return false;
      const event = JSON.parse(body) as CloudEvent;
      if (!this.#ports.accepts(event)) continue;
      const bytes = Buffer.byteLength(body);
      this.#waiting.push({ n, event, bytes });
      this.#bytes += bytes;
    }
    return rows.length > 0;
  }

  /** The oldest ones that fit; one at least. */
  front(limit: { events: number; bytes: number }): Waiting[] {
    let bytes = 0;
    let count = 0;
    for (const { bytes: own } of this.#waiting) {
      if (count > 0 && (count >= limit.events || bytes + own > limit.bytes)) break;
      bytes += own;
      count++;
    }
    return this.#waiting.slice(0, count);
  }

  /** Forgets what is dealt with of the batch at the front. */
  settle({ taken, rejected }: PartialTaking): void {
    const gone = new Set(rejected.map(({ index }) => index));
    this.#keep((_, index) => index >= taken && !gone.has(index));
  }

  /** Takes out what is numbered up to `to`. */
  takeUpTo(to: number): Waiting[] {
    const taken = this.#waiting.filter(({ n }) => n <= to);
    this.#keep(({ n }) => n > to);
    return taken;
  }

  /** Nothing up to this number is there any more. */
  skipTo(to: number): void {
    this.#readTo = Math.max(this.#readTo, to);
  }

  #keep(stays: (each: Waiting, index: number) => boolean): void {
    this.#waiting = this.#waiting.filter(stays);
    this.#bytes = this.#waiting.reduce((sum, { bytes }) => sum + bytes, 0);
  }
}
