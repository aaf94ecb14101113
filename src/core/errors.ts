/**
 * The few error codes of the product and the one table that maps them to exit codes, HTTP and gRPC status.
 * A message says what failed, on what, why, and what to do.
 */
export const ERROR_CODES = {
  failed: { exit: 1, http: 500, grpc: 13 },
  invalid: { exit: 1, http: 422, grpc: 3 },
  usage: { exit: 2, http: 400, grpc: 3 },
  not_found: { exit: 3, http: 404, grpc: 5 },
  denied: { exit: 4, http: 403, grpc: 7 },
  unauthenticated: { exit: 4, http: 401, grpc: 16 },
  conflict: { exit: 1, http: 409, grpc: 6 },
  expired: { exit: 1, http: 409, grpc: 10 },
  busy: { exit: 1, http: 409, grpc: 9 },
  exhausted: { exit: 1, http: 429, grpc: 8 },
  too_large: { exit: 1, http: 413, grpc: 11 },
  corrupt: { exit: 1, http: 500, grpc: 15 },
  unreachable: { exit: 5, http: 503, grpc: 14 },
  timed_out: { exit: 6, http: 504, grpc: 4 },
  cancelled: { exit: 1, http: 499, grpc: 1 },
} as const satisfies Record<string, { exit: number; http: number; grpc: number }>;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface ErrorOptions {
  retryable?: boolean;
  cause?: unknown;
  /** Machine-readable facts; must hold no secret. */
  details?: Record<string, unknown>;
}

export class HoldfastError extends Error {
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "HoldfastError";
    this.code = code;
    this.retryable = options.retryable ?? (code === "unreachable" || code === "timed_out" || code === "busy");
    this.details = options.details;
  }
}

/** The message of anything thrown, without a stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The `code` property that Node and Bun put on system errors (`ENOENT`, `EACCES` …), if there is one. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}

/** Passes a HoldfastError through and wraps everything else as `failed`. */
export function asHoldfastError(error: unknown, what: string): HoldfastError {
  if (error instanceof HoldfastError) return error;
  return new HoldfastError("failed", `${what}: ${messageOf(error)}`, { cause: error });
}
