import { isSecretName } from "../../core/mask.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type { SettingsIssue } from "../../sdk/settings.ts";

/**
 * What is wrong with settings by a plugin's JSON Schema, as far as it can be said without the plugin's code: missing and
 * unknown keys, primitive types and fixed values. The worker checks the rest when the plugin starts.
 */
export function schemaIssues(schema: Json, value: Json, path: (string | number)[] = []): SettingsIssue[] {
  if (!isObject(schema)) return [];
  const wrong = typeIssue(schema, value, path);
  if (wrong) return [wrong];
  if (Array.isArray(value)) {
    return value.flatMap((item, index) => schemaIssues(schema.items ?? null, item, [...path, index]));
  }
  return isObject(value) ? objectIssues(schema, value, path) : [];
}

function objectIssues(schema: JsonObject, value: JsonObject, path: (string | number)[]): SettingsIssue[] {
  const properties = isObject(schema.properties) ? schema.properties : {};
  const known = Object.keys(properties);
  const required = Array.isArray(schema.required) ? schema.required.map(String) : [];
  const missing = required
    .filter((key) => !(key in value))
    .map((key): SettingsIssue => ({ path: [...path, key], message: "is missing", known: [] }));
  const given = Object.entries(value).flatMap(([key, item]): SettingsIssue[] => {
    const at = [...path, key];
    if (Object.hasOwn(properties, key)) return schemaIssues(properties[key]!, item, at);
    if (schema.additionalProperties === false) return [{ path: at, message: "unknown setting", known }];
    return schemaIssues(schema.additionalProperties ?? null, item, at);
  });
  return [...missing, ...given];
}

function typeIssue(schema: JsonObject, value: Json, path: (string | number)[]): SettingsIssue | undefined {
  const secret = path.some((key) => isSecretName(String(key)));
  const actual = secret ? "***" : JSON.stringify(value).slice(0, 80);
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
