import type { Json, JsonObject } from "./json.ts";

/**
 * What a manifest's permissions may hold in `${…}`: `home`, `settings.x` and `settings.x.y`, and around these
 * `folder(…)` (of a file), `endpoint(…)` (host:port of an address) and `program(…)` (what a command line starts).
 */
export type Reference =
  | { kind: "home" }
  | { kind: "setting"; path: string[] }
  | { kind: "call"; name: ReferenceFunction; of: Reference };

export type ReferenceFunction = "folder" | "endpoint" | "program";

export const REFERENCE_FORMS = [
  "${home}",
  "${settings.x}",
  "${folder(settings.x)}",
  "${endpoint(settings.x)}",
  "${program(settings.x)}",
];

/** A text in pieces: plain ones and references. Null when a `${` has no end or holds something else. */
export function parseTemplate(text: string): (string | Reference)[] | null {
  const pieces: (string | Reference)[] = [];
  let rest = text;
  for (let at = rest.indexOf("${"); at >= 0; at = rest.indexOf("${")) {
    const end = rest.indexOf("}", at);
    const reference = end < 0 ? null : parseReference(rest.slice(at + 2, end));
    if (reference === null) return null;
    if (at > 0) pieces.push(rest.slice(0, at));
    pieces.push(reference);
    rest = rest.slice(end + 1);
  }
  if (rest !== "") pieces.push(rest);
  return pieces;
}

function parseReference(text: string): Reference | null {
  const inner = text.trim();
  if (inner === "home") return { kind: "home" };
  if (/^settings(\.\w[\w-]*)+$/.test(inner)) return { kind: "setting", path: inner.split(".").slice(1) };
  const call = /^(folder|endpoint|program)\((.*)\)$/.exec(inner);
  const of = call === null ? null : parseReference(call[2]!);
  return of === null ? null : { kind: "call", name: call![1] as ReferenceFunction, of };
}

/** The texts that a setting stands for: each item of a list, none when it is not set or known only when a step starts. */
export function settingTexts(settings: JsonObject, path: string[]): string[] {
  let here: Json | undefined = settings;
  for (const key of path) {
    here = member(here, key);
  }
  return (Array.isArray(here) ? here : [here])
    .filter((value) => ["string", "number", "boolean"].includes(typeof value))
    .map(String)
    .filter((text) => text !== "" && !text.includes("${{"));
}

function member(value: Json | undefined, key: string): Json | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  return Object.hasOwn(value, key) ? value[key] : undefined;
}

/** Settings with the defaults that the plugin's JSON Schema names. */
export function withDefaults(schema: JsonObject, settings: JsonObject): JsonObject {
  const properties = schema.properties;
  if (typeof properties !== "object" || properties === null || Array.isArray(properties)) return settings;
  const filled: JsonObject = { ...settings };
  for (const [name, property] of Object.entries(properties)) {
    if (Object.hasOwn(filled, name) || typeof property !== "object" || property === null) continue;
    const value = Array.isArray(property) ? undefined : property.default;
    if (value !== undefined) filled[name] = value;
  }
  return filled;
}
