import { HoldfastError } from "../../core/errors.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { FindingChange } from "../../model/finding.ts";
import type { JsonObject } from "../../model/json.ts";
import type { FindingRow } from "../../model/rule.ts";
import type { Evaluated, RulesPort, Times } from "./ports.ts";

/** What people did with findings is done again with those of the rehearsal, by key. */
export class People {
  readonly #rules: RulesPort;
  readonly #open = new Map<string, FindingRow>();

  constructor(rules: RulesPort, open: FindingRow[]) {
    this.#rules = rules;
    for (const row of open) this.#open.set(row.key, row);
  }

  /** Takes note of findings as they stand now. */
  see(evaluated: Evaluated): void {
    for (const row of evaluated.findings()) {
      if (row.state === "resolved") this.#open.delete(row.key);
      else this.#open.set(row.key, row);
    }
  }

  /** What rules make of it; null where these rules have no such finding, or it is not as the person found it. */
  repeat(event: CloudEvent, by: string, times: Times): Evaluated | null {
    const change = changeOf(event, by);
    const stored = this.#open.get(String((event.data as JsonObject).key));
    if (change === null || stored === undefined) return null;
    try {
      return this.#rules.changeFinding(stored, change, times).evaluated;
    } catch (error) {
      if (error instanceof HoldfastError && error.code === "conflict") return null;
      throw error;
    }
  }
}

/** What a person did, by the event that tells of it. */
function changeOf({ type, data }: CloudEvent, by: string): FindingChange | null {
  const { text, reason, falsePositive } = data as JsonObject;
  const words = (value: unknown) => (typeof value === "string" ? value : "");
  switch (type) {
    case "finding.acknowledged":
      return { kind: "acknowledge", by };
    case "finding.noted":
      return { kind: "note", by, text: words(text) };
    case "finding.resolved":
      return { kind: "resolve", by, falsePositive: falsePositive === true, reason: words(reason) };
    default:
      return null;
  }
}
