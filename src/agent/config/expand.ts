import { isSecretName } from "../../core/mask.ts";
import type { ConfigProblem } from "../../model/config-problem.ts";
import { type ConfigNode, formatPath, type Origin, type Path, type ScalarNode } from "./node.ts";
import { parseYamlValue } from "./parse-yaml.ts";
import { childSchema, type SchemaView, wants } from "./schema-walk.ts";

export type Environment = Record<string, string | undefined>;

/** `$${` stays as `${`; `${{ … }}` is a template and not ours; `${VAR}` and `${VAR:-default}` are. */
const VARIABLE = /\$\$\{(?!\{)|\$\{\{[\s\S]*?\}\}|\$\{([^}]*)\}/g;
const NAME = /^([A-Za-z_][A-Za-z0-9_]*)(?::-([\s\S]*))?$/;

/**
 * Expands variables in the text values of a local file. Text stays text, also when a variable holds `5`, but where the
 * schema wants something else (a number, true or false) the outcome is read as that.
 */
export function expandVariables(
  root: ConfigNode,
  schema: SchemaView,
  env: Environment,
): { root: ConfigNode; problems: ConfigProblem[] } {
  const problems: ConfigProblem[] = [];
  const walk = (node: ConfigNode, at: SchemaView | undefined, path: Path): ConfigNode => {
    switch (node.kind) {
      case "map": {
        const entries = [...node.entries].map(
          ([key, { key: origin, value }]) =>
            [key, { key: origin, value: walk(value, childSchema(at, key), [...path, key]) }] as const,
        );
        return { ...node, entries: new Map(entries) };
      }
      case "list":
        return {
          ...node,
          items: node.items.map((item, index) => walk(item, childSchema(at, index), [...path, index])),
        };
      case "scalar":
        if (typeof node.value !== "string" || !node.value.includes("${")) return node;
        return expandScalar(node, node.value, at, env, (message) =>
          problems.push(problem(node.origin, path, message)),
        );
    }
  };
  return { root: walk(root, schema, []), problems };
}

function expandScalar(
  node: ScalarNode,
  written: string,
  schema: SchemaView | undefined,
  env: Environment,
  report: (message: string) => void,
): ConfigNode {
  let secret = false;
  let expanded = false;
  const text = written.replace(VARIABLE, (all: string, inner: string | undefined) => {
    if (all === "$${") return "${";
    if (inner === undefined) return all;
    const [, name, fallback] = NAME.exec(inner) ?? [];
    if (name === undefined) {
      report(`\${${inner}} is not a variable: write \${NAME} or \${NAME:-default}, and $\${ for a plain \${`);
      return "";
    }
    expanded = true;
    secret ||= isSecretName(name);
    // As in a shell, `:-` also stands in for an empty variable.
    const value = fallback === undefined ? env[name] : env[name] || fallback;
    if (value === undefined) report(`the variable ${name} is not set: set it, or write \${${name}:-default}`);
    return value ?? "";
  });
  if (!expanded) return { ...node, value: text };
  const marks = { written, ...(secret ? { secret } : {}) };
  if (wants(schema) === "other") {
    const { root } = parseYamlValue(text, node.origin);
    if (root?.kind === "scalar") return { ...root, ...marks };
  }
  return { ...node, value: text, ...marks };
}

function problem(origin: Origin, path: Path, message: string): ConfigProblem {
  const { file, line, column } = origin;
  return { file, line, column, path: formatPath(path), message };
}
