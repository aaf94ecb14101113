import type { CloudEvent, ProposedEvent } from "../../model/event.ts";
import type { Waiting } from "./backlog.ts";

/** Classes that one event tells apart; what is beyond them is counted together. */
const MAX_CLASSES = 50;
/** Severity of an event that has none, and of one that nobody can look at any more. */
const NO_SEVERITY = "none";
const UNKNOWN = "unknown";

export interface LossClass {
  type: string;
  severity: string;
  count: number;
}

/** Counts events by type and severity. */
export class LossCount {
  readonly #classes = new Map<string, LossClass>();
  total = 0;

  add(waiting: Waiting[]): void {
    for (const { event } of waiting) this.#count(event.type, severityOf(event), 1);
  }

  /** Events that are gone from the store, so that neither their class nor whether they matched is known. */
  addUnknown(count: number): void {
    this.#count(UNKNOWN, UNKNOWN, count);
  }

  classes(): LossClass[] {
    return [...this.#classes.values()];
  }

  #count(type: string, severity: string, count: number): void {
    this.total += count;
    const key = `${severity} ${type}`;
    const known = this.#classes.get(key);
    if (known) known.count += count;
    else if (this.#classes.size < MAX_CLASSES) this.#classes.set(key, { type, severity, count });
    else this.#countOther(count);
  }

  #countOther(count: number): void {
    const other = this.#classes.get("other");
    if (other) other.count += count;
    else this.#classes.set("other", { type: "other", severity: UNKNOWN, count });
  }
}

/** What an output says of events that it does not get. The same range gives the same id: a crash tells it once. */
export function lostEvent(
  output: string,
  range: { first: number; last: number },
  count: LossCount,
): ProposedEvent {
  return {
    id: `lost-${output}-${range.first}-${range.last}`,
    type: "output.lost",
    subject: output,
    severity: "error",
    data: {
      message: "the output was too far behind: these events do not reach it",
      first: range.first,
      last: range.last,
      lost: count.total,
      classes: count.classes().map((each) => ({ ...each })),
    },
  };
}

function severityOf(event: CloudEvent): string {
  return typeof event.severity === "string" ? event.severity : NO_SEVERITY;
}
