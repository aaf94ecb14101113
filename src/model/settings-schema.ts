import { cutText } from "../core/cut-text.ts";
import { isSecretName } from "../core/mask.ts";
import type { Json, JsonObject } from "./json.ts";

type Path = (string | number)[];

/** One thing wrong with settings. */
export interface SchemaIssue {
  path: Path;
  message: string;
  expected?: string;
  actual?: string;
  /** Names that are known at this place, when the name is not. */
  known: string[];
}

/** One thing wrong with a schema itself. */
export type SchemaProblem = Pick<SchemaIssue, "path" | "message" | "known">;

const TYPES = ["string", "number", "integer", "boolean", "array", "object", "null"];
/** Keywords that say nothing about what is allowed. */
const NOTES = ["$schema", "title", "description", "examples", "default"];
const BOUNDS = ["minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"];
const KEYWORDS = [
  ...NOTES,
  ...BOUNDS,
  "type",
  "enum",
  "properties",
  "required",
  "additionalProperties",
  "items",
];

/**
 * What is wrong with settings by a plugin's JSON Schema, as far as it can be said without the plugin's code: missing and
 * unknown keys, primitive types, fixed values and bounds. A TypeScript plugin's worker checks the rest when it starts.
 */
export function schemaIssues(schema: Json, value: Json, path: Path = []): SchemaIssue[] {
  if (!isObject(schema)) return [];
  const wrong = typeIssue(schema, value, path) ?? boundIssue(schema, value, path);
  if (wrong) return [wrong];
  if (Array.isArray(value)) {
    return value.flatMap((item, index) => schemaIssues(schema.items ?? null, item, [...path, index]));
  }
  return isObject(value) ? objectIssues(schema, value, path) : [];
}

/** The settings with the schema's defaults where nothing is given. */
export function withDefaults(schema: Json, value: Json): Json {
  if (!isObject(schema) || !isObject(value) || !isObject(schema.properties)) return value;
  const filled: JsonObject = { ...value };
  for (const [key, property] of Object.entries(schema.properties)) {
    if (Object.hasOwn(filled, key)) filled[key] = withDefaults(property, filled[key]!);
    else if (isObject(property) && property.default !== undefined) filled[key] = property.default;
  }
  return filled;
}

/**
 * What is wrong with a schema of settings that a person wrote at `path`: the first thing that would not be checked as it
 * is meant.
 */
export function settingsSchemaProblem(schema: Json, path: Path): SchemaProblem | null {
  const problem = schemaProblem(schema, path);
  if (problem !== null || (schema as JsonObject).type === "object") return problem;
  return { path: [...path, "type"], message: 'settings are a map: the type must be "object"', known: [] };
}

function schemaProblem(schema: Json, path: Path): SchemaProblem | null {
  if (!isObject(schema)) return { path, message: "a schema must be a map", known: [] };
  const unknown = Object.keys(schema).find((key) => !KEYWORDS.includes(key));
  if (unknown !== undefined) {
    const message = `unknown keyword ${JSON.stringify(unknown)}: it would not be checked`;
    return { path: [...path, unknown], message, known: KEYWORDS };
  }
  return keywordProblem(schema, path) ?? innerProblem(schema, path);
}

function keywordProblem(schema: JsonObject, path: Path) {
  const at = (key: string, message: string, known: string[] = []) => ({
    path: [...path, key],
    message,
    known,
  });
  const types = Array.isArray(schema.type) ? schema.type : schema.type === undefined ? [] : [schema.type];
  const odd = types.find((type) => !TYPES.includes(String(type)));
  if (odd !== undefined) return at("type", `unknown type ${JSON.stringify(odd)}`, TYPES);
  if (schema.enum !== undefined && !Array.isArray(schema.enum)) return at("enum", "must be a list");
  const bound = BOUNDS.find((key) => schema[key] !== undefined && typeof schema[key] !== "number");
  if (bound !== undefined) return at(bound, "must be a number");
  if (schema.properties !== undefined && !isObject(schema.properties))
    return at("properties", "must be a map");
  if (schema.required === undefined) return null;
  const names = schema.required;
  if (!Array.isArray(names) || names.some((name) => typeof name !== "string")) {
    return at("required", "must be a list of names");
  }
  const known = Object.keys((schema.properties as JsonObject | undefined) ?? {});
  const index = names.findIndex((name) => !known.includes(String(name)));
  if (index === -1) return null;
  return {
    path: [...path, "required", index],
    message: `there is no property ${JSON.stringify(names[index])}`,
    known,
  };
}

function innerProblem(schema: JsonObject, path: Path) {
  for (const [key, property] of Object.entries((schema.properties as JsonObject | undefined) ?? {})) {
    const problem = schemaProblem(property, [...path, "properties", key]);
    if (problem) return problem;
  }
  if (schema.items !== undefined) {
    const problem = schemaProblem(schema.items, [...path, "items"]);
    if (problem) return problem;
  }
  const { additionalProperties: more } = schema;
  if (more === undefined || typeof more === "boolean") return null;
  return schemaProblem(more, [...path, "additionalProperties"]);
}

function objectIssues(schema: JsonObject, value: JsonObject, path: Path): SchemaIssue[] {
  const properties = isObject(schema.properties) ? schema.properties : {};
  const known = Object.keys(properties);
  const required = Array.isArray(schema.required) ? schema.required.map(String) : [];
  const missing = required
    .filter((key) => !Object.hasOwn(value, key))
    .map((key): SchemaIssue => ({ path: [...path, key], message: "is missing", known: [] }));
  const given = Object.entries(value).flatMap(([key, item]): SchemaIssue[] => {
    const at = [...path, key];
    if (Object.hasOwn(properties, key)) return schemaIssues(properties[key]!, item, at);
    if (schema.additionalProperties === false) return [{ path: at, message: "unknown setting", known }];
    return schemaIssues(schema.additionalProperties ?? null, item, at);
  });
  return [...missing, ...given];
}

function typeIssue(schema: JsonObject, value: Json, path: Path): SchemaIssue | undefined {
  const actual = shown(value, path);
  if (Array.isArray(schema.enum) && !schema.enum.some((item) => item === value)) {
    const known = schema.enum.map(String);
    return { path, message: "is not one of the known values", expected: known.join(" | "), actual, known };
  }
  const types = (Array.isArray(schema.type) ? schema.type : [schema.type]).filter(
    (type) => typeof type === "string",
  );
  if (types.length === 0 || types.some((type) => hasType(value, type))) return undefined;
  return { path, message: "has the wrong type", expected: types.join(" or "), actual, known: [] };
}

function boundIssue(schema: JsonObject, value: Json, path: Path): SchemaIssue | undefined {
  const measured = measure(value);
  if (measured === undefined) return undefined;
  const [least, most] = [schema[measured.least], schema[measured.most]];
  const say = (side: string, bound: number): SchemaIssue => {
    const unit = measured.unit === "" ? "" : ` ${measured.unit}${bound === 1 ? "" : "s"}`;
    return { path, message: `${side} ${bound}${unit}`, actual: shown(value, path), known: [] };
  };
  if (typeof least === "number" && measured.size < least) return say("at least", least);
  if (typeof most === "number" && measured.size > most) return say("at most", most);
  return undefined;
}

function measure(value: Json) {
  if (typeof value === "number") return { size: value, unit: "", least: "minimum", most: "maximum" };
  if (typeof value === "string") {
    return { size: [...value].length, unit: "character", least: "minLength", most: "maxLength" };
  }
  if (Array.isArray(value)) return { size: value.length, unit: "item", least: "minItems", most: "maxItems" };
  return undefined;
}

function shown(value: Json, path: Path): string {
  const secret = path.some((key) => isSecretName(String(key)));
  return secret ? "***" : cutText(JSON.stringify(value), 80);
}

function hasType(value: Json, type: string): boolean {
  if (type === "integer") return Number.isInteger(value);
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "object") return isObject(value);
  return typeof value === type;
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
