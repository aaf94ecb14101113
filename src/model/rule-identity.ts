import type { RuleDefinition } from "./rule.ts";

/**
 * Name and hash of what a rule's memory depends on. A rule that is changed in one of these starts afresh; one that gets
 * another condition on its window, another cooldown, priority or outcome goes on with what it remembers.
 */
export function ruleIdentity(rule: RuleDefinition): string {
  const { on, types, when, by, window, sequence, absence } = rule;
  const base = JSON.stringify([
    on,
    types,
    when,
    by,
    window && [window.overMs, window.compute, window.of],
    sequence,
    absence,
  ]);
  const hash = new Bun.CryptoHasher("sha256").update(base).digest("hex").slice(0, 16);
  return `${rule.name}@${hash}`;
}

/** Whose memory and findings the store keeps: identities own the memory, names own the findings. */
export function ruleKeep(rules: RuleDefinition[]): string[] {
  return rules.flatMap((rule) => [ruleIdentity(rule), rule.name]);
}
