import { referencesOf } from "../../model/expression-references.ts";
import type { RuleDefinition } from "../../model/rule.ts";
import { templateSources } from "../../model/template.ts";

/** The enabled rules whose expressions ask for `memory`. */
export function memoryReaders(rules: RuleDefinition[]): RuleDefinition[] {
  return rules.filter(
    (rule) =>
      rule.enabled &&
      expressionsOf(rule).some((source) => referencesOf(source).some(({ name }) => name === "memory")),
  );
}

function expressionsOf({ when, by, window, sequence, outcomes }: RuleDefinition): string[] {
  const plain = [when, by, window?.of, window?.is, ...(sequence?.steps ?? []).map((step) => step.when)];
  const resolved = outcomes.map((outcome) => (outcome.kind === "finding" ? outcome.resolvedWhen : null));
  const templates = outcomes.flatMap((outcome) => templateSources({ ...outcome }));
  return [
    ...[...plain, ...resolved].filter((source) => typeof source === "string"),
    ...templates.map(({ source }) => source),
  ];
}
