import { RE2JS } from "re2js";
import { isDuration } from "../core/duration.ts";
import { messageOf } from "../core/errors.ts";
import { nearest } from "../core/nearest.ts";
import type { Json, JsonObject } from "./json.ts";
import type { ParameterDefinition, ParameterType } from "./pipeline.ts";

export type CheckedParameters = { params: JsonObject } | { problems: string[] };

const EXPECTED: Record<ParameterType, string> = {
  string: "a text",
  int: "a whole number",
  number: "a number",
  bool: "true or false",
  duration: "a duration, like 250ms, 30s, 5m, 1h",
  list: "a list",
  object: "an object",
};

/**
 * The parameters of a run with defaults filled in, or everything that is wrong with them. A pipeline that declares none
 * takes any.
 */
export function checkParameters(definitions: ParameterDefinition[], given: JsonObject): CheckedParameters {
  if (definitions.length === 0) return { params: given };
  const problems = [...unknownNames(definitions, given), ...tooFew(definitions, given)];
  const params: JsonObject = {};
  for (const definition of definitions) {
    const { name } = definition;
    const value = given[name];
    if (value === undefined) {
      if (definition.default !== null) params[name] = definition.default as Json;
      continue;
    }
    const problem = valueProblem(definition, value);
    if (problem === null) params[name] = value;
    else problems.push(problem);
  }
  return problems.length > 0 ? { problems } : { params };
}

/** What is wrong with one value, or null. */
export function valueProblem(definition: ParameterDefinition, value: Json): string | null {
  const { name, type, choices } = definition;
  const shown = typeof value === "string" ? value : JSON.stringify(value);
  if (!hasType(type, value)) return `'${shown}' is not ${EXPECTED[type]}, which parameter '${name}' must be`;
  if (choices !== null && !choices.includes(shown)) {
    const near = nearest(shown, choices);
    const hint = near === undefined ? "" : `; did you mean '${near}'?`;
    return `'${shown}' is not a choice for parameter '${name}': one of ${choices.join(", ")}${hint}`;
  }
  return typeof value === "string" ? patternProblem(definition, value) : null;
}

/** What is wrong with a parameter's own declaration: a pattern that is no RE2, a default that it would refuse. */
export function declarationProblems(
  definition: ParameterDefinition,
): { key: "pattern" | "default"; message: string }[] {
  const { pattern } = definition;
  if (pattern !== null) {
    try {
      RE2JS.compile(pattern);
    } catch (error) {
      return [{ key: "pattern", message: `bad regular expression: ${messageOf(error)}` }];
    }
  }
  const problem = definition.default === null ? null : valueProblem(definition, definition.default as Json);
  return problem === null ? [] : [{ key: "default", message: problem }];
}

function hasType(type: ParameterType, value: Json): boolean {
  switch (type) {
    case "string":
      return typeof value === "string";
    case "int":
      return Number.isSafeInteger(value);
    case "number":
      return typeof value === "number";
    case "bool":
      return typeof value === "boolean";
    case "duration":
      return typeof value === "string" && isDuration(value);
    case "list":
      return Array.isArray(value);
    case "object":
      return typeof value === "object" && value !== null && !Array.isArray(value);
  }
}

function patternProblem(definition: ParameterDefinition, text: string): string | null {
  const { name, pattern } = definition;
  if (pattern === null || compiled(definition, pattern).matcher(text).matches()) return null;
  return `'${text}' doesn't match the pattern for parameter '${name}': ${pattern}`;
}

/** Compiled once a declaration: what it holds depends on nothing but the key. */
const patterns = new WeakMap<ParameterDefinition, RE2JS>();

function compiled(definition: ParameterDefinition, pattern: string): RE2JS {
  let regex = patterns.get(definition);
  if (!regex) patterns.set(definition, (regex = RE2JS.compile(pattern)));
  return regex;
}

function unknownNames(definitions: ParameterDefinition[], given: JsonObject): string[] {
  const names = definitions.map(({ name }) => name);
  return Object.keys(given)
    .filter((name) => !names.includes(name))
    .map((name) => {
      const near = nearest(name, names);
      const hint = near === undefined ? `; it takes ${names.join(", ")}` : `; did you mean '${near}'?`;
      return `there is no parameter '${name}'${hint}`;
    });
}

function tooFew(definitions: ParameterDefinition[], given: JsonObject): string[] {
  const required = definitions.filter((each) => each.required && each.default === null);
  const missing = required.filter(({ name }) => given[name] === undefined).map(({ name }) => `'${name}'`);
  if (missing.length === 0) return [];
  const had = required.length - missing.length;
  return [`too few parameters, ${required.length} required but ${had} given; missing: ${missing.join(", ")}`];
}

/**
 * `name=value` words of a command line → values of the declared types. What is not declared is JSON where it parses as
 * such, else text.
 */
export function readArguments(words: string[], definitions: ParameterDefinition[]): CheckedParameters {
  const params: JsonObject = {};
  const problems: string[] = [];
  for (const word of words) {
    const equals = word.indexOf("=");
    const name = word.slice(0, equals);
    if (equals < 1) problems.push(`'${word}' is not name=value`);
    else if (Object.hasOwn(params, name)) problems.push(`parameter '${name}' is given twice`);
    else {
      const definition = definitions.find((each) => each.name === name);
      const value = readValue(definition?.type, word.slice(equals + 1));
      // An own property also for a name like __proto__, which is then told as unknown.
      Object.defineProperty(params, name, { value, enumerable: true, configurable: true, writable: true });
    }
  }
  return problems.length > 0 ? { problems } : { params };
}

/** A text that is not of its type stays text: the check of the parameters says what was expected. */
function readValue(type: ParameterType | undefined, text: string): Json {
  if (type === "string" || type === "duration") return text;
  const value = parseJson(text);
  if (type === "list" && !Array.isArray(value))
    return text === "" ? [] : text.split(",").map((item) => item.trim());
  if (type !== undefined && value !== undefined && !hasType(type, value)) return text;
  return value === undefined ? text : value;
}

function parseJson(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
