import type { RunState } from "../../model/run.ts";

const RECENT = 100;
/** With fewer than these nothing is said: one failure of three is no rate. */
const ENOUGH = 20;

/** How the last hundred runs ended that succeeded or failed; what people cancelled says nothing. */
export class RecentEnds {
  readonly #failed: boolean[] = [];
  #next = 0;

  note(state: RunState): void {
    if (state !== "succeeded" && state !== "failed" && state !== "timed_out") return;
    this.#failed[this.#next] = state !== "succeeded";
    this.#next = (this.#next + 1) % RECENT;
  }

  /** Share of failed ones, 0 while there are too few. */
  get failureRate(): number {
    if (this.#failed.length < ENOUGH) return 0;
    return this.#failed.filter(Boolean).length / this.#failed.length;
  }
}

export interface RunFacts {
  openRuns: number;
  maxOpenRuns: number;
  failureRate: number;
  /** Destinations with an open circuit, and what they did. */
  circuits: string[];
  /** Why side effects were refused. */
  capped: string | null;
}

const SHOWN_CIRCUITS = 3;

/** What is wrong with how the runs go, for the health checks; null when nothing is. */
export function runProblem(facts: RunFacts): string | null {
  const { openRuns, maxOpenRuns, failureRate, circuits, capped } = facts;
  const problems: string[] = [];
  if (openRuns > 0.8 * maxOpenRuns) {
    problems.push(`the queue is near capacity: ${openRuns} open runs of at most ${maxOpenRuns}`);
  }
  if (failureRate > 0.1) {
    problems.push(`high failure rate: ${Math.round(100 * failureRate)} % of the last runs failed`);
  }
  if (circuits.length > 0) {
    const more = circuits.length > SHOWN_CIRCUITS ? ` and ${circuits.length - SHOWN_CIRCUITS} more` : "";
    problems.push(`circuit open: ${circuits.slice(0, SHOWN_CIRCUITS).join(", ")}${more}`);
  }
  if (capped !== null) problems.push(`${capped}; what rules start beyond it does not run`);
  return problems.length === 0 ? null : problems.join("; ");
}
