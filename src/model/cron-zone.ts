import { HoldfastError } from "../core/errors.ts";
import { nearest } from "../core/nearest.ts";

/** Every change of an offset in the time zone database comes at a quarter of an hour of UTC, or seconds before one long ago. */
const STEP_MS = 900_000;
/** Offsets that are kept: some weeks of a zone. */
const MAX_KEPT = 4096;
const MINUTE_MS = 60_000;
const PARTS = /^(\d+)\/(\d+)\/(-?\d+), (\d+):(\d+):(\d+)$/;

/** A time zone of the IANA database, or an offset like `+02:00`: what its clocks show, and when they are changed. */
export class Zone {
  readonly name: string;
  readonly #format: Intl.DateTimeFormat;
  readonly #offsets = new Map<number, number>();

  /** Throws `invalid` for a name that nobody knows. */
  constructor(name: string) {
    this.name = name;
    const problem = zoneProblem(name);
    if (problem !== null) throw new HoldfastError("invalid", problem.message);
    this.#format = new Intl.DateTimeFormat("en-US", {
      timeZone: name,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
  }

  /** Milliseconds that clocks there are ahead of UTC. */
  offset(unixMs: number): number {
    const step = Math.floor(unixMs / STEP_MS);
    let offset = this.#offsets.get(step);
    if (offset === undefined) {
      if (this.#offsets.size >= MAX_KEPT) this.#offsets.clear();
      offset = this.#read(step * STEP_MS);
      this.#offsets.set(step, offset);
    }
    return offset;
  }

  /** What clocks there show, as if it were UTC. */
  local(unixMs: number): number {
    return unixMs + this.offset(unixMs);
  }

  /** The first moment after `from`, up to `to`, at which the offset is another one than at `from`. */
  change(from: number, to: number): number {
    const before = this.offset(from);
    let low = from;
    let high = to;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.offset(middle) === before) low = middle;
      else high = middle;
    }
    return high;
  }

  /** Moments at which clocks there show this: one, none when they were put forward over it, two when they were put back. */
  moments(local: number): number[] {
    const day = 24 * 60 * MINUTE_MS;
    const offsets = new Set([this.offset(local - day), this.offset(local), this.offset(local + day)]);
    return [...offsets]
      .map((offset) => local - offset)
      .filter((moment) => this.local(moment) === local)
      .sort((a, b) => a - b);
  }

  #read(unixMs: number): number {
    const match = PARTS.exec(this.#format.format(unixMs));
    if (match === null) throw new HoldfastError("failed", `the time in ${this.name} cannot be read`);
    const [month, day, year, hour, minute, second] = match.slice(1).map(Number);
    return Date.UTC(year!, month! - 1, day, hour, minute, second) - unixMs;
  }
}

/** What is wrong with the name of a time zone, or null. */
export function zoneProblem(name: string): { message: string; suggestion?: string } | null {
  try {
    new Intl.DateTimeFormat("en-US", { timeZone: name });
    return null;
  } catch {
    const near = nearest(name, Intl.supportedValuesOf("timeZone"));
    const message = `there is no time zone ${JSON.stringify(name)}`;
    return near === undefined ? { message } : { message, suggestion: near };
  }
}
