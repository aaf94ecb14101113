import { HoldfastError } from "../core/errors.ts";
import { isSecretName } from "../core/mask.ts";
import type { Json } from "./json.ts";
import type { SharedParameterInput } from "./shared-parameter-schema.ts";

/** Names of parameters, of pipelines and of those that are shared. */
export const PARAMETER_NAME = /^[a-zA-Z_]\w{0,63}$/;
/** Bytes of one value, as JSON. */
export const MAX_PARAMETER = 16 * 1024;
export const MAX_PARAMETERS = 10_000;

/** What the agent knows by itself. */
export const PARAMETER_FACTS = ["agent_id", "hostname", "os", "arch"];

/** Where a value comes from; later ones win. Above them all: the default of the pipeline, and what is given at the start. */
export const PARAMETER_SOURCES = [
  "agent",
  "configuration, global",
  "set, global",
  "configuration, namespace",
  "set, namespace",
] as const;
export type ParameterSource = (typeof PARAMETER_SOURCES)[number];

/** One that a person has set on the agent. */
export interface SetParameter {
  /** Null is every namespace. */
  namespace: string | null;
  name: string;
  value: Json;
  secret: boolean;
  /** Trusted Unix milliseconds. */
  changedMs: number;
  changedBy: string;
}

export interface ListedParameter {
  namespace: string | null;
  name: string;
  /** `***` for a secret one. */
  value: Json;
  secret: boolean;
  source: ParameterSource;
  changedMs: number | null;
  changedBy: string | null;
}

export function readSharedParameter(input: SharedParameterInput): { value: Json; secret: boolean } {
  const isObject = typeof input === "object" && input !== null && !Array.isArray(input);
  return isObject
    ? { value: input.value as Json, secret: input.secret }
    : { value: input as Json, secret: false };
}

/** Marked as secret, or named like one. */
export function shownValue({ name, value, secret }: { name: string; value: Json; secret: boolean }): Json {
  return secret || isSecretName(name) ? "***" : value;
}

export function checkParameterName(name: string): string {
  if (PARAMETER_NAME.test(name)) return name;
  throw new HoldfastError(
    "invalid",
    `a parameter's name is a letter or _, then letters, digits and _, at most 64, not ${JSON.stringify(name.slice(0, 70))}`,
  );
}

export function checkParameterValue(name: string, value: Json): Json {
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined || value === null)
    throw new HoldfastError("invalid", `the value for ${name} is missing`);
  if (Buffer.byteLength(text) <= MAX_PARAMETER) return value;
  throw new HoldfastError("too_large", `the value for ${name} has more than ${MAX_PARAMETER} bytes`);
}
