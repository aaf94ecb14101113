const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** For so long the health checks tell of a refusal. */
const NEWS_MS = 10 * MINUTE_MS;
/** How finely the last hour is read again from the store at start. */
const REREAD_MS = 10 * MINUTE_MS;

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

  /** Reads what the store has of the last hour. `since` counts attempts begun since a wall time, by pipeline. */
  async reread(
    since: (wallMs: number) => Promise<Record<string, number>>,
    wallMs: number,
    trustedMs: number,
  ): Promise<void> {
    const ages: number[] = [];
    for (let age = HOUR_MS; age > 0; age -= REREAD_MS) ages.push(age);
    const counts = await Promise.all(ages.map((age) => since(wallMs - age)));
    ages.forEach((age, index) => {
      const later = counts[index + 1] ?? {};
      for (const [pipeline, count] of Object.entries(counts[index]!)) {
        const within = count - (later[pipeline] ?? 0);
        // Counted at the young end of its ten minutes: rather held back for too long than let through too early.
        if (within > 0) this.#add(pipeline, minuteOf(trustedMs - age + REREAD_MS), within);
      }
    });
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
    this.#all.forget(minuteOf(trustedMs - HOUR_MS));
    return this.#all.total;
  }

  #add(pipeline: string, minute: number, count: number): void {
    this.#all.add(minute, count);
    let own = this.#pipelines.get(pipeline);
    if (!own) this.#pipelines.set(pipeline, (own = new HourCount()));
    own.add(minute, count);
  }

  #forget(pipeline: string, trustedMs: number): void {
    const before = minuteOf(trustedMs - HOUR_MS);
    this.#all.forget(before);
    this.#pipelines.get(pipeline)?.forget(before);
  }
}

function minuteOf(ms: number): number {
  return Math.floor(ms / MINUTE_MS);
}
