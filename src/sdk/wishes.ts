import * as v from "valibot";
import { HoldfastError } from "../core/errors.ts";
import { nearest } from "../core/nearest.ts";
import {
  type Permissions,
  permissionsSchema,
  type ResourcesInput,
  resourcesSchema,
} from "../model/permissions.ts";

type Entries = Record<string, v.GenericSchema>;

/** The permissions that a plugin asks for, every list filled in. Throws `invalid` with all that is wrong with them. */
export function readPermissions(value: unknown, owner: string): Permissions {
  return read(permissionsSchema, permissionsSchema.entries, value, `permissions of ${owner}`);
}

/** The resources that a plugin asks for. Throws `invalid` with all that is wrong with them. */
export function readResources(value: unknown, owner: string): ResourcesInput {
  return read(resourcesSchema, resourcesSchema.entries, value, `resources of ${owner}`);
}

/** `${settings.x}` must name a setting: a slip would silently grant nothing. */
export function checkSettingNames(permissions: Permissions, settings: unknown, owner: string): void {
  const entries = (settings as { entries?: object } | undefined)?.entries;
  if (entries === undefined) return;
  const known = Object.keys(entries);
  const texts = Object.values(permissions).flatMap((wish) => (Array.isArray(wish) ? wish : []));
  for (const [, name] of texts.join(" ").matchAll(/settings\.(\w[\w-]*)/g)) {
    if (known.includes(name!)) continue;
    const meant = nearest(name!, known);
    const hint = meant === undefined ? `known: ${known.join(", ") || "none"}` : `did you mean "${meant}"?`;
    throw new HoldfastError("invalid", `permissions of ${owner}: there is no setting "${name}" (${hint})`);
  }
}

function read<T>(schema: v.GenericSchema<unknown, T>, entries: Entries, value: unknown, what: string): T {
  const problems = unknownKeys(value, Object.keys(entries));
  const parsed = v.safeParse(schema, value ?? {});
  if (parsed.success && problems.length === 0) return parsed.output;
  for (const issue of parsed.issues ?? []) {
    // Valibot stops at the first unknown key; all of them were found above.
    if (issue.type === "strict_object" && issue.expected === "never") continue;
    problems.push(issueText(issue));
  }
  throw new HoldfastError("invalid", `${what}: ${problems.join("; ")}`);
}

function unknownKeys(value: unknown, known: string[]): string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [];
  return Object.keys(value)
    .filter((key) => !known.includes(key))
    .map((key) => {
      const meant = nearest(key, known);
      const hint = meant === undefined ? `known: ${known.join(", ")}` : `did you mean "${meant}"?`;
      return `unknown key ${JSON.stringify(key.slice(0, 80))} (${hint})`;
    });
}

function issueText(issue: v.BaseIssue<unknown>): string {
  const path = (issue.path ?? [])
    .map(({ key }) => (typeof key === "number" ? `[${key}]` : String(key)))
    .join("");
  const place = path === "" ? "" : `${path}: `;
  const found = issue.received.slice(0, 120);
  if (issue.kind === "schema") return `${place}expected ${wanted(issue)}, found ${found}`;
  // A text or a size that is written wrongly: the message of the schema says what is right.
  const isList = Array.isArray(issue.input);
  return isList ? `${place}${issue.message}` : `${place}expected ${issue.message}, found ${found}`;
}

function wanted(issue: v.BaseIssue<unknown>): string {
  if (issue.type === "array") return "a list";
  if (issue.type === "strict_object") return "an object";
  return issue.expected ?? "another type";
}
