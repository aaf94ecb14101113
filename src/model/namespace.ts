import { coversName } from "./grant-limits.ts";

/** What is shared by one name: memory, parameters, secrets and locks (row G-10). */
export const NAMESPACE = /^[a-zA-Z0-9][\w.:-]{0,127}$/;

/** Of a pipeline or a rule that names none. */
export const DEFAULT_NAMESPACE = "default";
/** The agent's own. */
export const RESERVED_NAMESPACE = "holdfast";

/** What is wrong with a namespace that somebody wants to use, or null. */
export function namespaceProblem(name: string): string | null {
  if (!NAMESPACE.test(name))
    return "a namespace: letters, digits and _ . : -, at most 128, beginning with a letter or digit";
  return name === RESERVED_NAMESPACE ? `the namespace ${RESERVED_NAMESPACE} is the agent's own` : null;
}

/**
 * The namespace of a plugin that no run has called: the first that its grant (manifest, settings and policy) names without
 * a `*`, else its own name. Plugins of the same name as the agent's own namespace have none.
 */
export function pluginNamespace(plugin: string, granted: string[]): string {
  const named = granted.find((each) => !each.includes("*") && namespaceProblem(each) === null);
  return named ?? (namespaceProblem(plugin) === null ? plugin : `plugin.${plugin}`);
}

export function fitsAny(name: string, patterns: string[]): boolean {
  return patterns.some((pattern) => coversName(pattern, name));
}
