export const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** For so long the health checks tell of a refusal. */
const NEWS_MS = 10 * MINUTE_MS;

/** Attempts of one pipeline in the last hour, by minute; the oldest minute goes as a whole. */
class HourCount {
  readonly #minutes: { minute: number; count: number }[] = [];
  total = 0;

  add(minute: number, count: number): void {
    this.total += count;
    const last = this.#minutes.at(-1);
    if (last !== undefined && last.minute >= minute) last.count += count;
    else this.#minutes.push({ minute, count });
  }

  forget(beforeMinute: number): void {
    while (this.#minutes.length > 0 && this.#minutes[0]!.minute < beforeMinute) {
      this.total -= this.#minutes.shift()!.count;
    }
  }
}

/**
 * Attempts of actions by runs that rules start, in a sliding hour of trusted time: in all and by pipeline
 * (`limits.side_effects`, `side_effects_per_hour`).
 */
export class SideEffects {
  readonly #cap: number;
  readonly #all = new HourCount();
  readonly #pipelines = new Map<string, HourCount>();
  #refused: { reason: string; trustedMs: number } | null = null;

  constructor(cap: number) {
    this.#cap = cap;
  }

  get cap(): number {
    return this.#cap;
  }

  /** Takes over what earlier lives of the agent counted. */
  load(counted: { minute: number; pipeline: string; count: number }[]): void {
    for (const { minute, pipeline, count } of counted.toSorted((a, b) => a.minute - b.minute)) {
      this.#add(pipeline, minute, count);
    }
  }

  /** Null when another attempt may begin; else the reason why not. */
  refusal(pipeline: string, pipelineCap: number | null, trustedMs: number): string | null {
    const reason = this.#over(pipeline, pipelineCap, trustedMs);
    if (reason !== null) this.#refused = { reason, trustedMs };
    return reason;
  }

  /** Why something was refused a short while ago; null when nothing was. */
  news(trustedMs: number): string | null {
    return this.#refused && trustedMs - this.#refused.trustedMs < NEWS_MS ? this.#refused.reason : null;
  }

  #over(pipeline: string, pipelineCap: number | null, trustedMs: number): string | null {
    this.#forget(pipeline, trustedMs);
    if (this.#all.total >= this.#cap) {
      return `limits.side_effects is used up: rules started ${this.#all.total} attempts of actions within an hour`;
    }
    const own = this.#pipelines.get(pipeline)?.total ?? 0;
    if (pipelineCap === null || own < pipelineCap) return null;
    return `side_effects_per_hour of pipeline ${pipeline} is used up: ${own} attempts of actions within an hour`;
  }

  count(pipeline: string, trustedMs: number): void {
    this.#add(pipeline, minuteOf(trustedMs), 1);
  }

  /** What was counted a moment ago did not begin after all. */
  takeBack(pipeline: string, trustedMs: number): void {
    this.#add(pipeline, minuteOf(trustedMs), -1);
  }

  used(trustedMs: number): number {
    this.#all.forget(hourBefore(trustedMs));
    return this.#all.total;
  }

  #add(pipeline: string, minute: number, count: number): void {
    this.#all.add(minute, count);
    let own = this.#pipelines.get(pipeline);
    if (!own) this.#pipelines.set(pipeline, (own = new HourCount()));
    own.add(minute, count);
  }

  #forget(pipeline: string, trustedMs: number): void {
    const before = hourBefore(trustedMs);
    this.#all.forget(before);
    this.#pipelines.get(pipeline)?.forget(before);
  }
}

/** The first minute that an hour up to now reaches into. */
export function hourBefore(trustedMs: number): number {
  return minuteOf(trustedMs - HOUR_MS);
}

export function minuteOf(ms: number): number {
  return Math.floor(ms / MINUTE_MS);
}
