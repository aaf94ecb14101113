import type { CompiledRule } from "./compiled-rule.ts";

export interface Candidates {
  /** To be evaluated, those of higher priority first, then in the order of the configuration. */
  rules: CompiledRule[];
  /** Their findings may be resolved by the event, whatever its type. */
  resolvers: CompiledRule[];
}

/** Types come from outside: the answers that are kept are bounded. */
const MAX_ANSWERS = 10_000;
const NONE: Candidates = { rules: [], resolvers: [] };

/** Which rules an event meets, by its trigger and type. */
export class RuleIndex {
  readonly #byTrigger = new Map<string, CompiledRule[]>();
  readonly #answers = new Map<string, Map<string, Candidates>>();
  #kept = 0;

  /** `rules` in the order of the configuration. */
  constructor(rules: CompiledRule[]) {
    const active = rules.filter((rule) => rule.definition.enabled && rule.broken === null);
    const ordered = active.sort((a, b) => b.definition.priority - a.definition.priority);
    const triggers = new Set(ordered.flatMap((rule) => rule.definition.on));
    for (const trigger of triggers) {
      this.#byTrigger.set(
        trigger,
        ordered.filter(({ definition: { on } }) => on.includes(trigger) || on.includes("*")),
      );
    }
  }

  /** False when no rule listens to this trigger, so that its events need not be looked at. */
  concerns(trigger: string): boolean {
    return this.#byTrigger.has(trigger) || this.#byTrigger.has("*");
  }

  candidates(trigger: string, type: string): Candidates {
    const known = this.#answers.get(trigger)?.get(type);
    if (known) return known;
    const listening = this.#byTrigger.get(trigger) ?? this.#byTrigger.get("*");
    if (!listening) return NONE;
    const found: Candidates = {
      rules: listening.filter((rule) => wantsType(rule, type)),
      resolvers: listening.filter((rule) =>
        rule.outcomes.some((outcome) => outcome.kind === "finding" && outcome.resolvedWhen !== null),
      ),
    };
    this.#keep(trigger, type, found);
    return found;
  }

  #keep(trigger: string, type: string, found: Candidates): void {
    if (this.#kept >= MAX_ANSWERS) {
      this.#answers.clear();
      this.#kept = 0;
    }
    let answers = this.#answers.get(trigger);
    if (!answers) this.#answers.set(trigger, (answers = new Map()));
    answers.set(type, found);
    this.#kept++;
  }
}

function wantsType({ definition: { types, sequence } }: CompiledRule, type: string): boolean {
  if (types.length > 0 && !types.includes(type)) return false;
  return (
    sequence === null || sequence.steps.some((step) => step.types.length === 0 || step.types.includes(type))
  );
}
