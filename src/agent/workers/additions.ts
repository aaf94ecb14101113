import { HoldfastError } from "../../core/errors.ts";
import type { JsonObject } from "../../model/json.ts";
import type { Addition } from "../../model/pipeline.ts";
import { type LaterDue, MAX_LATER_MS } from "../../model/schedule-later.ts";

/** Steps that one request may ask for; the engine counts those of a whole step. */
export const MAX_ADDITIONS = 100;
/** Longer than any name of an action or a pipeline. */
const MAX_NAME = 256;
/** Of all inputs of one request together. */
const MAX_INPUT_CHARS = 256 * 1024;
const KINDS: ReadonlySet<unknown> = new Set(["add", "finally", "onFailure", "spawn", "later"]);
const KEYS: ReadonlySet<string> = new Set(["kind", "action", "pipeline", "with", "templates", "due"]);

/**
 * What a running action asks for, from hostile bytes or a plugin's own hands. Throws `invalid` with what is wrong. Whether
 * there is such an action is the engine's to say.
 */
export function parseAdditions(value: unknown): Addition[] {
  if (!Array.isArray(value)) throw invalid("additions must be a list");
  if (value.length === 0 || value.length > MAX_ADDITIONS)
    throw invalid(`one request may ask for 1 to ${MAX_ADDITIONS} steps, not ${value.length}`);
  const additions = value.map(parseAddition);
  const chars = additions.reduce((sum, addition) => sum + JSON.stringify(addition.with).length, 0);
  if (chars > MAX_INPUT_CHARS)
    throw invalid(`the inputs of one request have ${chars} characters, at most ${MAX_INPUT_CHARS} may`);
  return additions;
}

function parseAddition(value: unknown): Addition {
  if (!isObject(value)) throw invalid("an addition must be an object");
  const { kind, action, pipeline, templates = false } = value;
  const unknown = Object.keys(value).find((key) => !KEYS.has(key));
  if (unknown !== undefined) throw invalid(`an addition has no ${JSON.stringify(unknown.slice(0, 40))}`);
  if (!KINDS.has(kind)) throw invalid("an addition must be of kind add, finally, onFailure, spawn or later");
  if (typeof action !== "string" || action === "" || action.length > MAX_NAME)
    throw invalid(`an addition must name an action or a pipeline, in 1 to ${MAX_NAME} characters`);
  if (typeof pipeline !== "boolean") throw invalid("`pipeline` of an addition must be true or false");
  if (typeof templates !== "boolean") throw invalid("`templates` of an addition must be true or false");
  if (!isObject(value.with)) throw invalid(`the input of ${action} must be an object`);
  if (kind !== "later" && value.due !== undefined) throw invalid(`only what is put off has a time`);
  const addition: Addition = {
    kind: kind as Addition["kind"],
    action,
    pipeline: pipeline || kind === "spawn" || kind === "later",
    with: value.with as JsonObject,
    ...(templates ? { templates } : {}),
  };
  return kind === "later" ? { ...addition, due: parseDue(value.due, action) } : addition;
}

function parseDue(value: unknown, action: string): LaterDue {
  const [key, ...more] = isObject(value) ? Object.keys(value) : [];
  const ms = isObject(value) && key !== undefined ? value[key] : undefined;
  const isMs = typeof ms === "number" && Number.isSafeInteger(ms) && ms >= 0;
  if (key === "inMs" && more.length === 0 && isMs && ms <= MAX_LATER_MS) return { inMs: ms };
  if (key === "atMs" && more.length === 0 && isMs) return { atMs: ms };
  throw invalid(`${action} is put off to no time: in so long (10 years at most), or at a moment`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(message: string): HoldfastError {
  return new HoldfastError("invalid", message);
}
