import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Json } from "../../model/json.ts";
import { type BatchProblem, parsePartial } from "../../model/output-batch.ts";

/** What a write threw. Whatever did not come from the plugin is about the worker, and is tried again. */
export function problemOf(error: unknown): BatchProblem {
  const { message, code, retryable } = told(error);
  const details = error instanceof HoldfastError ? error.details : undefined;
  const partial = parsePartial(details?.partial as Json | undefined) ?? { taken: 0, rejected: [] };
  return { message, code, retryable, ...partial };
}

function told(error: unknown): { message: string; code: string; retryable: boolean } {
  const message = messageOf(error);
  if (!(error instanceof HoldfastError) || typeof error.details?.code !== "string")
    return { message, code: "failed", retryable: true };
  return { message, code: error.details.code, retryable: error.retryable };
}
