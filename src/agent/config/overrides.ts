import { nearest } from "../../core/nearest.ts";
import type { ConfigProblem } from "../../model/config-problem.ts";
import type { Environment } from "./expand.ts";
import {
  child,
  type ConfigNode,
  emptyMap,
  formatPath,
  type MapNode,
  type Origin,
  type Path,
  textOf,
} from "./node.ts";
import { parseYamlValue } from "./parse-yaml.ts";
import { childSchema, knownKeys, type SchemaView, wants } from "./schema-walk.ts";

const PREFIX = "HOLDFAST__";

/** One key set from outside of the files. Segments are compared without case, and `-`, `.` and `_` are the same. */
export interface Override {
  segments: string[];
  text: string;
  origin: Origin;
}

/** `HOLDFAST__HEALTH__LISTEN=…`, sorted by name so that the outcome does not depend on the order of the environment. */
export function environmentOverrides(env: Environment): Override[] {
  return Object.keys(env)
    .filter((name) => name.toUpperCase().startsWith(PREFIX) && env[name] !== undefined)
    .sort()
    .map((name) => ({
      segments: name.slice(PREFIX.length).split("__"),
      text: env[name]!,
      origin: { file: "environment", line: 0, column: 0, source: name },
    }));
}

/** `{ id: "web-01", "health.listen": "127.0.0.1:0" }`, from flags `--id` and `--health-listen`. */
export function flagOverrides(flags: Record<string, string | undefined>): Override[] {
  return Object.entries(flags).flatMap(([key, text]) => {
    if (text === undefined) return [];
    const source = `--${key.replace(/[._]/g, "-")}`;
    return [
      {
        segments: key === "id" ? ["agent", "id"] : key.split("."),
        text,
        origin: { file: "command line", line: 0, column: 0, source },
      },
    ];
  });
}

/** Sets each key in turn. A key that leads nowhere is set as well when it can be, so that validation names it. */
export function applyOverrides(
  root: MapNode,
  schema: SchemaView,
  overrides: Override[],
): { root: MapNode; problems: ConfigProblem[] } {
  const problems: ConfigProblem[] = [];
  let result: ConfigNode = root;
  for (const override of overrides) {
    const outcome = set(result, schema, override, 0, []);
    if ("problem" in outcome) problems.push(outcome.problem);
    else result = outcome.node;
  }
  return { root: result as MapNode, problems };
}

type Outcome = { node: ConfigNode } | { problem: ConfigProblem };

function set(
  node: ConfigNode | undefined,
  schema: SchemaView | undefined,
  override: Override,
  depth: number,
  path: Path,
): Outcome {
  const segment = override.segments[depth];
  if (segment === undefined) return valueNode(override, schema, path);
  if (segment === "") return fail(override, path, "an empty name between two double underscores");
  if (node?.kind === "list") return setItem(node, schema, override, depth, path);
  const map = node?.kind === "map" ? node : emptyMap(override.origin);
  const key =
    findName(segment, [...map.entries.keys(), ...(knownKeys(schema) ?? [])]) ?? segment.toLowerCase();
  const inner = set(child(map, key), childSchema(schema, key), override, depth + 1, [...path, key]);
  if ("problem" in inner) return inner;
  const entries = new Map(map.entries);
  entries.set(key, { key: override.origin, value: inner.node });
  return { node: { ...map, entries } };
}

/** An item of a list is found by its name or id: `HOLDFAST__TRIGGERS__SAMPLE_LOG__ENABLED`. */
function setItem(
  list: ConfigNode & { kind: "list" },
  schema: SchemaView | undefined,
  override: Override,
  depth: number,
  path: Path,
): Outcome {
  const names = list.items.map((item) => textOf(child(item, "name")) ?? textOf(child(item, "id")) ?? "");
  const segment = override.segments[depth]!;
  const index = names.findIndex((name) => name !== "" && plain(name) === plain(segment));
  if (index < 0) {
    const suggestion = nearest(
      segment,
      names.filter((name) => name !== ""),
    );
    return fail(
      override,
      path,
      `there is no item called ${JSON.stringify(segment.toLowerCase())}`,
      suggestion,
    );
  }
  const inner = set(list.items[index], childSchema(schema, index), override, depth + 1, [...path, index]);
  if ("problem" in inner) return inner;
  return { node: { ...list, items: list.items.with(index, inner.node) } };
}

function valueNode(override: Override, schema: SchemaView | undefined, path: Path): Outcome {
  const { text, origin } = override;
  const wanted = wants(schema);
  const asText = wanted === "text" || (wanted === "text or list" && !text.trimStart().startsWith("["));
  if (asText || text.trim() === "") return { node: { kind: "scalar", origin, value: text } };
  const { root, problems } = parseYamlValue(text, origin);
  if (root !== null) return { node: root };
  return fail(override, path, problems[0]!.message);
}

function fail(override: Override, path: Path, message: string, suggestion?: string): Outcome {
  const { file, line, column, source } = override.origin;
  const problem: ConfigProblem = {
    file,
    line,
    column,
    path: formatPath(path),
    message: `${source}: ${message}`,
  };
  return { problem: suggestion === undefined ? problem : { ...problem, suggestion } };
}

function findName(segment: string, names: string[]): string | undefined {
  return names.find((name) => plain(name) === plain(segment));
}

function plain(name: string): string {
  return name.toLowerCase().replace(/[^a-z0-9]/g, "_");
}
