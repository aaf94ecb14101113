import * as v from "valibot";
import { type ConfigNode, entriesOf, itemsOf, type Path, toJson } from "./node.ts";
import type { Report } from "./report.ts";
import { childSchema, describeSchema, knownKeys, type SchemaView, viewOf } from "./schema-walk.ts";

type Issue = v.BaseIssue<unknown>;

/** Checks a document against a schema and reports everything at once. Gives the value with defaults, or null. */
export function checkSchema<S extends v.GenericSchema>(
  schema: S,
  root: ConfigNode,
  report: Report,
): v.InferOutput<S> | null {
  const before = report.problems.length;
  const renamed = reportUnknownKeys(viewOf(schema), root, [], report);
  const parsed = v.safeParse(schema, toJson(root));
  for (const issue of parsed.issues ?? []) reportIssue(issue, viewOf(schema), renamed, report);
  return parsed.success && report.problems.length === before ? parsed.output : null;
}

/**
 * Valibot stops at the first unknown key of a map: all of them are found here. Gives the keys that a person probably
 * meant, as paths, so that they are not called missing as well.
 */
function reportUnknownKeys(
  schema: SchemaView | undefined,
  node: ConfigNode,
  path: Path,
  report: Report,
): Set<string> {
  const meant = new Set<string>();
  const known = knownKeys(schema);
  const present = new Set(entriesOf(node).map(([key]) => key));
  const free = known?.filter((name) => !present.has(name)) ?? [];
  for (const [key, value] of entriesOf(node)) {
    if (known !== undefined && !known.includes(key)) {
      const named = report.suggest(key, free);
      const meantKey = named.suggestion ?? report.suggest(key, known).suggestion;
      if (meantKey !== undefined) meant.add(pathKey([...path, meantKey]));
      const expected = known.length > 0 ? `one of ${known.join(", ")}` : "no keys";
      report.key([...path, key], `unknown key ${JSON.stringify(key)}`, {
        expected,
        ...(meantKey === undefined ? {} : { suggestion: meantKey }),
      });
      continue;
    }
    const inner = reportUnknownKeys(childSchema(schema, key), value, [...path, key], report);
    for (const each of inner) meant.add(each);
  }
  for (const [index, item] of itemsOf(node).entries()) {
    const inner = reportUnknownKeys(childSchema(schema, index), item, [...path, index], report);
    for (const each of inner) meant.add(each);
  }
  return meant;
}

function pathKey(path: Path): string {
  return JSON.stringify(path);
}

function reportIssue(issue: Issue, schema: SchemaView, renamed: Set<string>, report: Report): void {
  const path = pathOf(issue);
  const at = path.reduce<SchemaView | undefined>(childSchema, schema);
  const onKey = (issue.path?.at(-1) as { origin?: string } | undefined)?.origin === "key";
  if (issue.type === "strict_object" && issue.expected === "never") return;
  if (issue.type === "strict_object" && onKey) {
    if (renamed.has(pathKey(path))) return;
    return report.value(path, `the key ${JSON.stringify(path.at(-1))} is missing`, {
      expected: describeSchema(at),
    });
  }
  if (onKey) {
    return report.key(path, `invalid name ${JSON.stringify(path.at(-1))}`, { expected: issue.message });
  }
  const inner = issue.issues?.filter((each) => each.path !== undefined) ?? [];
  if (inner.length > 0) {
    for (const each of inner) {
      const deeper = { ...each, path: [...(issue.path ?? []), ...each.path!] } as Issue;
      reportIssue(deeper, schema, renamed, report);
    }
    return;
  }
  if (issue.kind === "schema" && issue.type !== "picklist") {
    return report.value(path, "wrong type", { expected: describeSchema(at), actual: report.actual(path) });
  }
  report.value(path, "invalid value", validationDetails(issue, path, report));
}

function pathOf(issue: Issue): Path {
  return (issue.path ?? []).map((item) => item.key as string | number);
}

function validationDetails(issue: Issue, path: Path, report: Report) {
  const actual = report.actual(path);
  const bound = Number(issue.requirement);
  switch (issue.type) {
    case "picklist": {
      const options = (issue as unknown as v.PicklistIssue).expected;
      const names = [...options.matchAll(/"([^"]*)"/g)].map((match) => match[1]!);
      const near = typeof issue.input === "string" ? report.suggest(issue.input, names) : {};
      return { expected: `one of ${names.join(", ")}`, actual, ...near };
    }
    case "min_value":
      return { expected: `at least ${bound}`, actual };
    case "max_value":
      return { expected: `at most ${bound}`, actual };
    case "integer":
      return { expected: "a whole number", actual };
    case "min_length":
    case "max_length": {
      const unit = `${Array.isArray(issue.input) ? "item" : "character"}${bound === 1 ? "" : "s"}`;
      const length = (issue.input as { length: number }).length;
      const side = issue.type === "min_length" ? "at least" : "at most";
      return { expected: `${side} ${bound} ${unit}`, actual: `${length}` };
    }
    default:
      return { expected: issue.message, actual };
  }
}
