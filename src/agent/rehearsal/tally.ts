import type { Compared, RuleCounts } from "./ports.ts";

/** Counts of one side. */
export interface Sums {
  runs: number;
  opened: number;
  repeated: number;
  resolved: number;
  emitted: number;
}

export interface RuleTally {
  rule: string;
  /** What the proposed rule did with its events; null when the proposed configuration has no such rule. */
  counts: Omit<RuleCounts, "lastError"> | null;
  lastError: string | null;
  proposed: Sums;
  past: Sums;
  verdicts: Record<Compared["verdict"], number>;
}

/** What is counted by rule: the proposed ones in their order, then those that only the past has. */
export class Tally {
  readonly #rules = new Map<string, RuleTally>();
  #before = new Map<string, RuleCounts>();

  constructor(rules: string[]) {
    for (const rule of rules) this.of(rule);
  }

  of(rule: string): RuleTally {
    let tally = this.#rules.get(rule);
    if (tally === undefined) {
      const verdicts = { same: 0, changed: 0, added: 0, removed: 0, failed: 0, unknown: 0 };
      tally = { rule, counts: null, lastError: null, proposed: sums(), past: sums(), verdicts };
      this.#rules.set(rule, tally);
    }
    return tally;
  }

  /** Nothing counted before. */
  begin(counters: { rule: string; counters: RuleCounts }[]): void {
    this.#before = new Map(counters.map(({ rule, counters: counts }) => [rule, { ...counts }]));
  }

  count({ verdict, deed, was }: Compared): void {
    const tally = this.of(deed.rule);
    tally.verdicts[verdict]++;
    const field = deed.kind === "run" ? "runs" : deed.kind;
    if (verdict !== "removed" && verdict !== "failed") tally.proposed[field]++;
    if (verdict === "removed" || was !== null) tally.past[field]++;
  }

  end(counters: { rule: string; counters: RuleCounts }[]): RuleTally[] {
    for (const { rule, counters: now } of counters) {
      const before = this.#before.get(rule);
      const since = (field: "evaluated" | "matched" | "fired" | "errors") =>
        now[field] - (before?.[field] ?? 0);
      const tally = this.of(rule);
      tally.counts = {
        evaluated: since("evaluated"),
        matched: since("matched"),
        fired: since("fired"),
        errors: since("errors"),
      };
      tally.lastError = now.lastError;
    }
    return [...this.#rules.values()];
  }
}

function sums(): Sums {
  return { runs: 0, opened: 0, repeated: 0, resolved: 0, emitted: 0 };
}
