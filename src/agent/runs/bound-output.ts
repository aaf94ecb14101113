import type { Json, JsonObject } from "../../model/json.ts";

/** Room for `"truncated":true` and what JSON needs around it. */
const MARK_BYTES = 40;

/**
 * Keeps a step's output within `maxBytes` of JSON; what is cut says so. Where one long text is to blame (a program's stdout)
 * that text is cut and the rest stays, so that later steps find the fields that they ask for.
 */
export function boundOutput(output: Json | undefined, maxBytes: number): Json {
  if (output === undefined || output === null || typeof output === "number" || typeof output === "boolean") {
    return output ?? null;
  }
  const text = JSON.stringify(output);
  if (text.length <= maxBytes) return output;
  const shorter = withLongestCut(output, text.length + MARK_BYTES - maxBytes);
  return shorter ?? { truncated: true, bytes: text.length, head: text.slice(0, Math.min(4096, maxBytes)) };
}

function withLongestCut(output: Json, excess: number): JsonObject | null {
  if (output === null || typeof output !== "object" || Array.isArray(output)) return null;
  const lengthOf = (value: Json | undefined) => (typeof value === "string" ? value.length : 0);
  const [key, value] = Object.entries(output).toSorted(([, a], [, b]) => lengthOf(b) - lengthOf(a))[0] ?? [];
  if (key === undefined || typeof value !== "string") return null;
  const room = JSON.stringify(value).length - excess;
  return room <= 0 ? null : { ...output, [key]: cutTo(value, room), truncated: true };
}

/** The beginning of a text that takes at most `room` characters of JSON, where quotes and line ends take two. */
function cutTo(text: string, room: number): string {
  let kept = text.slice(0, room);
  for (let size = jsonSize(kept); size > room; size = jsonSize(kept)) {
    kept = kept.slice(0, Math.floor(kept.length * Math.min(0.99, room / size)));
  }
  // A pair of surrogates may have been cut in two.
  return kept.toWellFormed();
}

function jsonSize(text: string): number {
  return JSON.stringify(text).length;
}
