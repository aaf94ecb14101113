import { ERROR_CODES, type ErrorCode, HoldfastError } from "../../core/errors.ts";
import { maskText } from "../../core/mask.ts";
import type { Problem } from "./views.ts";

const TITLES: Record<ErrorCode, string> = {
  failed: "The request failed",
  invalid: "Bad parameters",
  usage: "Bad request",
  not_found: "Not found",
  denied: "Not allowed",
  unauthenticated: "Not authenticated",
  conflict: "Conflict",
  expired: "Too late",
  busy: "Busy",
  exhausted: "Too many requests",
  too_large: "Too large",
  corrupt: "Stored data is damaged",
  unreachable: "Not reachable",
  timed_out: "Timed out",
  cancelled: "Cancelled",
};

export interface ParameterError {
  path: string;
  message: string;
}

/** An error of a parameter or body: `invalid` with a line for each thing that is wrong. */
export function badParameters(errors: ParameterError[]): HoldfastError {
  const detail = errors.map((each) => `${each.path}: ${each.message}`).join("; ");
  return new HoldfastError("invalid", `The request has bad parameters: ${detail}`, { details: { errors } });
}

export interface ProblemOptions {
  requestId: string;
  /** In place of the code's status, where HTTP has a sharper one (405, 415, 421). */
  status?: number;
  title?: string;
  headers?: Record<string, string>;
}

/** RFC 9457 answer for an error. What is no HoldfastError says nothing about the inside; the log has it. */
export function problemResponse(error: unknown, options: ProblemOptions): Response {
  const known = error instanceof HoldfastError;
  const code: ErrorCode = known ? error.code : "failed";
  const status = options.status ?? ERROR_CODES[code].http;
  const problem: Problem = {
    type: `urn:holdfast:problem:${code}`,
    title: options.title ?? TITLES[code],
    status,
    detail: known
      ? maskText(error.message)
      : `The hub failed on this request: its log has the reason under request id ${options.requestId}`,
    code,
    requestId: options.requestId,
  };
  if (known && Array.isArray(error.details?.errors))
    problem.errors = error.details.errors as ParameterError[];
  const headers = new Headers({ "content-type": "application/problem+json", ...options.headers });
  if (code === "unauthenticated") headers.set("www-authenticate", 'Bearer realm="holdfast"');
  if (code === "exhausted") headers.set("retry-after", String(retryAfter(error)));
  return new Response(JSON.stringify(problem), { status, headers });
}

function retryAfter(error: unknown): number {
  const seconds = (error as HoldfastError).details?.retryAfterSeconds;
  return typeof seconds === "number" ? seconds : 5;
}
