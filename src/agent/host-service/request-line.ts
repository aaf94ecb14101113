import * as v from "valibot";
import { HoldfastError } from "../../core/errors.ts";
import type { Json, JsonObject } from "../../model/json.ts";

export const MAX_REQUEST_BYTES = 64 * 1024;

const text = v.pipe(v.string(), v.maxLength(300));
const requestSchema = v.strictObject({
  operation: text,
  arguments: v.optional(v.record(v.string(), v.any())),
  /** What the asking agent says about it: kept in the audit, decides nothing. */
  by: v.optional(
    v.strictObject({
      plugin: text,
      part: text,
      run: v.optional(text),
      step: v.optional(text),
    }),
  ),
});

export interface ServiceRequest {
  operation: string;
  arguments: JsonObject;
  by: { plugin: string; part: string; run?: string; step?: string };
}

/** Throws `invalid` with what is wrong. */
export function parseRequest(line: string): ServiceRequest {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new HoldfastError("invalid", "a request is one line of JSON, and this is not");
  }
  const parsed = v.safeParse(requestSchema, value);
  if (!parsed.success) {
    const issue = parsed.issues[0];
    throw new HoldfastError(
      "invalid",
      `a request that is not one: ${v.getDotPath(issue) ?? ""} ${issue.message}`,
    );
  }
  const { operation, arguments: given = {}, by } = parsed.output;
  return {
    operation,
    arguments: given,
    by: (by ?? { plugin: "-", part: "-" }) as ServiceRequest["by"],
  };
}

export function answerLine(outcome: { result: Json } | { error: HoldfastError }): string {
  const answer =
    "result" in outcome
      ? { ok: true, result: outcome.result }
      : { ok: false, error: { code: outcome.error.code, message: outcome.error.message } };
  return `${JSON.stringify(answer)}\n`;
}
