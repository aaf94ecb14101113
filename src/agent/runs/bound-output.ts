import type { Json } from "../../model/json.ts";

/** Keeps a step's output within `maxBytes` of JSON; what is cut says so. */
export function boundOutput(output: Json | undefined, maxBytes: number): Json {
  if (output === undefined || output === null || typeof output === "number" || typeof output === "boolean") {
    return output ?? null;
  }
  const text = JSON.stringify(output);
  if (text.length <= maxBytes) return output;
  return { truncated: true, bytes: text.length, head: text.slice(0, Math.min(4096, maxBytes)) };
}
