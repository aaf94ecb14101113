import { cutText } from "../../../core/cut-text.ts";
import type { Json, JsonObject } from "../../../model/json.ts";
import type { StepError } from "../../../model/run.ts";

/** Longest text of a script that is taken as JSON, in bytes: of it may become many times as much memory. */
export const MAX_LINE_BYTES = 2 * 1024 * 1024;
/** Deeper JSON is no JSON to us: writing it again would overflow the stack. */
const MAX_DEPTH = 200;
const MAX_MESSAGE = 4096;

/** JSON out of a script's text, or undefined when it is something else. */
export function parseJson(text: string): Json | undefined {
  if (tooDeep(text)) return undefined;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

/** A JSON object out of one line; anything else is undefined, and most of it costs nothing. */
export function parseObject(line: string): JsonObject | undefined {
  if (!/^\s*\{/.test(line)) return undefined;
  const value = parseJson(line);
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
}

/** The value of a key that the object itself has: `__proto__` and `constructor` of JSON are keys like others. */
export function own(object: JsonObject, key: string): Json | undefined {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/** A script's `error`, a text or `{ message, code, retryable, started }`; what it leaves out is the careful choice. */
export function stepErrorOf(error: Json | undefined): StepError {
  const known = { code: "failed", retryable: true, started: true };
  if (typeof error === "string") return { ...known, message: cutText(error, MAX_MESSAGE) };
  if (typeof error !== "object" || error === null || Array.isArray(error)) {
    return { ...known, message: "it failed and gave no reason" };
  }
  const [message, code] = [own(error, "message"), own(error, "code")];
  return {
    message: typeof message === "string" ? cutText(message, MAX_MESSAGE) : "it failed and gave no reason",
    code: typeof code === "string" && code !== "" ? code.slice(0, 64) : known.code,
    retryable: own(error, "retryable") !== false,
    started: own(error, "started") !== false,
  };
}

/** Whether brackets outside of strings nest too deep; right for JSON, and of no matter for anything else. */
function tooDeep(text: string): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at);
    if (inString) {
      if (char === 0x5c) at++;
      else if (char === 0x22) inString = false;
    } else if (char === 0x22) inString = true;
    else if (char === 0x5b || char === 0x7b) {
      if (++depth > MAX_DEPTH) return true;
    } else if (char === 0x5d || char === 0x7d) depth--;
  }
  return false;
}
