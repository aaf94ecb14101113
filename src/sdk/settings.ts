import * as v from "valibot";
import { cutText } from "../core/cut-text.ts";
import { HoldfastError } from "../core/errors.ts";
import { isSecretName } from "../core/mask.ts";

/** One thing wrong with a plugin's settings. */
export interface SettingsIssue {
  path: (string | number)[];
  message: string;
  expected?: string;
  actual?: string;
  /** Names that are known at this place, when the name is not. */
  known: string[];
}

/** All that is wrong with `value` as settings of this schema, in the order of the schema. */
export function settingsIssues(schema: v.GenericSchema, value: unknown): SettingsIssue[] {
  const result = v.safeParse(schema, value);
  return result.success ? [] : result.issues.map((issue) => describeIssue(schema, issue));
}

/** Settings with defaults filled in and durations in milliseconds. Throws `invalid` with all problems in one message. */
export function parseSettings<T>(schema: v.GenericSchema<unknown, T>, value: unknown): T {
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const problems = result.issues.map((issue) => formatIssue(describeIssue(schema, issue)));
  throw new HoldfastError("invalid", `wrong settings: ${problems.join("; ")}`);
}

function describeIssue(schema: v.GenericSchema, issue: v.BaseIssue<unknown>): SettingsIssue {
  // Of a value that may be one of several things, the one that it nearly is says more than all their names.
  const inner = issue.type === "union" ? issue.issues?.find((each) => each.path) : undefined;
  if (inner?.path)
    return describeIssue(schema, {
      ...inner,
      path: [...(issue.path ?? []), ...inner.path] as typeof inner.path,
    });
  const path = (issue.path ?? []).map((item) => item.key as string | number);
  // Messages end up in status and run history.
  const actual = path.some((key) => isSecretName(String(key))) ? "***" : cutText(issue.received, 80);
  const missing = issue.received === "undefined" && issue.path?.at(-1)?.origin === "key";
  if (issue.kind === "schema" && issue.type === "strict_object" && issue.expected === "never") {
    return { path, message: "unknown setting", known: knownKeys(schema, path.slice(0, -1)) };
  }
  if (issue.kind === "schema" && (missing || issue.received === "undefined")) {
    const expected =
      issue.type === "strict_object" || issue.type === "object" ? {} : { expected: issue.expected! };
    return { path, message: "is missing", ...expected, known: [] };
  }
  if (issue.kind !== "schema") return { path, message: issue.message, actual, known: [] };
  const isChoice = issue.type === "picklist" || issue.type === "enum";
  return {
    path,
    message: isChoice ? "is not one of the known values" : "has the wrong type",
    ...(issue.expected === null ? {} : { expected: issue.expected.replace(/^\((.*)\)$/, "$1") }),
    actual,
    known: isChoice ? namesIn(issue.expected) : [],
  };
}

function formatIssue(issue: SettingsIssue): string {
  const place = issue.path.length === 0 ? "settings" : issue.path.join(".");
  const parts = [`${place}: ${issue.message}`];
  if (issue.expected !== undefined) parts.push(`expected ${issue.expected}`);
  if (issue.actual !== undefined) parts.push(`found ${issue.actual}`);
  if (issue.known.length > 0) parts.push(`known: ${issue.known.join(", ")}`);
  return parts.join(", ");
}

/** Keys of the object schema at this place; empty when the way there is not made of plain objects. */
function knownKeys(schema: v.GenericSchema, path: (string | number)[]): string[] {
  let here: unknown = schema;
  for (const key of path) here = entriesOf(here)?.[key];
  return Object.keys(entriesOf(here) ?? {});
}

function entriesOf(schema: unknown): Record<string, unknown> | undefined {
  const at = schema as { entries?: Record<string, unknown>; wrapped?: unknown } | undefined;
  return at?.entries ?? (at?.wrapped === undefined ? undefined : entriesOf(at.wrapped));
}

/** Valibot tells a picklist's names only as text: `("a" | "b")`. */
function namesIn(expected: string | null): string[] {
  return [...(expected ?? "").matchAll(/"([^"]*)"/g)].map((match) => match[1]!);
}
