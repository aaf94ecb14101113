import type { CloudEvent } from "../../model/event.ts";
import type { JsonObject } from "../../model/json.ts";
import type { FindingRow } from "../../model/rule.ts";

/**
 * How often findings were raised again, on both sides only those that were opened since it counts: of others nobody knows
 * when that was. What is held is bounded by the findings that may be open.
 */
export class Repeats {
  readonly #proposed = new Set<string>();
  readonly #past = new Map<string, string>();

  /** True when a finding as it stands now was raised again. */
  propose({ id, state, count }: FindingRow): boolean {
    if (state === "resolved") this.#proposed.delete(id);
    else if (count === 1) this.#proposed.add(id);
    return state !== "resolved" && count > 1 && this.#proposed.has(id);
  }

  /** Takes note of what a stored event tells of a finding; how often it had been raised again once it is over, else null. */
  past({ type, data }: CloudEvent): { rule: string; repeats: number } | null {
    const { id, rule, count } = (data ?? {}) as JsonObject;
    if (typeof id !== "string" || typeof rule !== "string") return null;
    if (type === "finding.opened") this.#past.set(id, rule);
    if (type !== "finding.resolved" || !this.#past.delete(id)) return null;
    return { rule, repeats: typeof count === "number" ? count - 1 : 0 };
  }

  /** Those of the past that are still open, by id, with their rules. */
  pastOpen(): Iterable<[id: string, rule: string]> {
    return this.#past;
  }
}
