import { HoldfastError } from "../core/errors.ts";
import type { Json } from "./json.ts";

/** What a worker asks of the memory. Without a namespace it means its own. Times are milliseconds. */
export type MemoryRequest = { namespace?: string } & (
  | { op: "get"; key: string }
  | { op: "set"; key: string; value: Json; ttlMs: number | null }
  | { op: "delete"; key: string }
  | { op: "list"; prefix: string; after: string }
  /** Waits for its turn, `waitMs` at most. */
  | { op: "checkout"; key: string; waitMs: number }
  | { op: "update"; key: string; token: number; value: Json; ttlMs: number | null }
  | { op: "checkin"; key: string; token: number }
  /** The state of the trigger, output or action that asks. `everyMs`: it is written at most so often, unless `force`. */
  | { op: "load" }
  | { op: "save"; value: Json; everyMs: number; force: boolean }
);

export const DEFAULT_WAIT_MS = 30_000;
/** Between two writes of a plugin's state. */
export const DEFAULT_EVERY_MS = 60_000;
const MIN_EVERY_MS = 1000;
const MAX_WAIT_MS = 3_600_000;
const MAX_TEXT = 256;

/** From hostile bytes. Throws `invalid` with what is wrong; keys and values are checked where they are used. */
export function parseMemoryRequest(value: unknown): MemoryRequest {
  const fields = value as Record<string, unknown> | null;
  if (typeof fields !== "object" || fields === null || Array.isArray(fields))
    throw invalid("a request to the memory must be an object");
  const { op } = fields;
  const space = fields.namespace === undefined ? {} : { namespace: text(fields, "namespace") };
  switch (op) {
    case "get":
    case "delete":
      return { op, key: text(fields, "key"), ...space };
    case "list":
      return { op, prefix: optionalText(fields, "prefix"), after: optionalText(fields, "after"), ...space };
    case "set":
      return { op, key: text(fields, "key"), value: json(fields), ttlMs: ttl(fields), ...space };
    case "checkout":
      return { op, key: text(fields, "key"), waitMs: wait(fields), ...space };
    case "update":
      return {
        ...{ op, key: text(fields, "key"), token: token(fields), value: json(fields), ttlMs: ttl(fields) },
        ...space,
      };
    case "checkin":
      return { op, key: text(fields, "key"), token: token(fields), ...space };
    case "load":
      return { op };
    case "save":
      return { op, value: json(fields), everyMs: every(fields), force: fields.force === true };
    default:
      throw invalid("the memory knows get, set, delete, list, checkout, update and checkin");
  }
}

/** One of `load` and `save` alone. Throws `invalid`. */
export function parseStateRequest(value: unknown): MemoryRequest {
  const request = parseMemoryRequest(value);
  if (request.op === "load" || request.op === "save") return request;
  throw invalid("state knows load and save");
}

function text(fields: Record<string, unknown>, name: string): string {
  const value = fields[name];
  if (typeof value === "string" && value.length <= MAX_TEXT) return value;
  throw invalid(`memory: \`${name}\` must be a text of at most ${MAX_TEXT} characters`);
}

function optionalText(fields: Record<string, unknown>, name: string): string {
  return fields[name] === undefined ? "" : text(fields, name);
}

function json(fields: Record<string, unknown>): Json {
  if (fields.value === undefined) throw invalid("memory: `value` is missing");
  return fields.value as Json;
}

function token({ token: value }: Record<string, unknown>): number {
  if (Number.isSafeInteger(value) && (value as number) > 0) return value as number;
  throw invalid("memory: `token` must be the number that a checkout gave");
}

function ttl({ ttlMs }: Record<string, unknown>): number | null {
  if (ttlMs === undefined || ttlMs === null) return null;
  if (typeof ttlMs === "number" && Number.isFinite(ttlMs) && ttlMs > 0) return ttlMs;
  throw invalid("memory: `ttlMs` must be a number of milliseconds above 0");
}

function every({ everyMs }: Record<string, unknown>): number {
  if (everyMs === undefined || everyMs === null) return DEFAULT_EVERY_MS;
  if (typeof everyMs === "number" && everyMs >= MIN_EVERY_MS && everyMs <= MAX_WAIT_MS) return everyMs;
  throw invalid(`state: \`every\` must be a number of milliseconds from ${MIN_EVERY_MS} to ${MAX_WAIT_MS}`);
}

function wait({ waitMs }: Record<string, unknown>): number {
  if (waitMs === undefined || waitMs === null) return DEFAULT_WAIT_MS;
  if (typeof waitMs === "number" && waitMs >= 0) return Math.min(waitMs, MAX_WAIT_MS);
  throw invalid("memory: `waitMs` must be a number of milliseconds");
}

function invalid(message: string): HoldfastError {
  return new HoldfastError("invalid", message);
}
