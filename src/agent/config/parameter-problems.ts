import type { Json } from "../../model/json.ts";
import { PARAMETER_TYPES, type ParameterDefinition, type ParameterType } from "../../model/pipeline.ts";
import { DEFAULT_NAMESPACE } from "../../model/namespace.ts";
import type { ExpressionChecks } from "./checks.ts";
import { list } from "./known-names.ts";
import { child, type ConfigNode, entriesOf, itemsOf, type Path, textOf, toJson } from "./node.ts";
import type { PipelineNode } from "./pipeline-steps.ts";
import type { Report } from "./report.ts";

/** What a pipeline declares; null when it takes any parameters, or when its declaration does not fit the schema. */
export function declaredParameters({ node }: PipelineNode): ParameterDefinition[] | null {
  const params = child(node, "params");
  if (params?.kind !== "map" || params.entries.size === 0) return null;
  return entriesOf(params).map(([name, parameter]) => definitionOf(name, parameter));
}

function definitionOf(name: string, parameter: ConfigNode): ParameterDefinition {
  const type = textOf(child(parameter, "type")) as ParameterType | undefined;
  const fallback = child(parameter, "default");
  const required = child(parameter, "required");
  const choices = itemsOf(child(parameter, "choices")).flatMap((item) => textOf(item) ?? []);
  const value = fallback === undefined ? null : toJson(fallback);
  return {
    name,
    type: type !== undefined && PARAMETER_TYPES.includes(type) ? type : "string",
    description: "",
    required: required?.kind === "scalar" ? required.value === true : value === null,
    default: value,
    pattern: textOf(child(parameter, "pattern")) ?? null,
    choices: choices.length > 0 ? choices : null,
  };
}

/** Names of the parameters that runs of a pipeline find in the configuration (section `params`). */
export function foundParameters(root: ConfigNode, { node }: PipelineNode): string[] {
  const params = child(root, "params");
  const namespace = textOf(child(node, "namespace")) ?? DEFAULT_NAMESPACE;
  const sections = [child(params, "global"), child(child(params, "namespaces"), namespace)];
  return sections.flatMap((section) => entriesOf(section).map(([name]) => name));
}

/** Patterns that are no RE2, defaults that would be refused. */
export function checkDeclarations(pipeline: PipelineNode, checks: ExpressionChecks, report: Report): void {
  for (const definition of declaredParameters(pipeline) ?? []) {
    for (const { key, message } of checks.declarationProblems(definition)) {
      report.value([...pipeline.path, "params", definition.name, key], message);
    }
  }
}

/**
 * Parameters that are given to a pipeline, by a rule or a step: names it does not have, ones it needs, literal values that
 * do not fit. `found`: what the configuration has for all or for its namespace. What a template gives is known only when it runs. `path` is theirs, `caller` that of the pipeline's name.
 */
export function checkGiven(
  pipeline: PipelineNode,
  given: ConfigNode | undefined,
  at: { path: Path; caller: Path; found: string[] },
  checks: ExpressionChecks,
  report: Report,
): void {
  const definitions = declaredParameters(pipeline);
  if (definitions === null || (given !== undefined && given.kind !== "map")) return;
  const names = definitions.map(({ name }) => name);
  for (const [name, node] of entriesOf(given)) {
    const definition = definitions.find((each) => each.name === name);
    const path = [...at.path, name];
    if (definition === undefined) {
      const message = `the pipeline ${pipeline.name} has no parameter ${JSON.stringify(name)}`;
      report.key(path, message, { expected: `one of ${list(names)}`, ...report.suggest(name, names) });
      continue;
    }
    const value = toJson(node);
    const problem = hasTemplate(value) ? null : checks.valueProblem(definition, value);
    if (problem !== null) {
      report.value(path, report.hides(path) ? `parameter '${name}' does not accept this value` : problem);
    }
  }
  for (const { name, required, default: fallback } of definitions) {
    if (at.found.includes(name)) continue;
    if (!required || fallback !== null || child(given, name) !== undefined) continue;
    report.value(at.caller, `the pipeline ${pipeline.name} needs the parameter '${name}'`);
  }
}

function hasTemplate(value: Json): boolean {
  return JSON.stringify(value).includes("${{");
}
