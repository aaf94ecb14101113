import type { Context } from "hono";
import type { Clock } from "../../core/clock.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import type { ApiStore, FleetPort } from "./ports.ts";
import { problemResponse } from "./problem.ts";

export interface ApiOptions {
  store: ApiStore;
  fleet: FleetPort;
  createJoinToken: (
    uses: number,
    ttlMs: number,
  ) => Promise<{ token: string; expiresMs: number; command: string }>;
  /** Receipts are signed with a new key from now on. `certificates`: how many keys there have been. */
  rotateReceiptKey: () => Promise<{ serial: string; certificates: number }>;
  /** Null for a token that stands for nobody; may throw `exhausted`. */
  verifyToken: (token: string) => Promise<{ name: string; role: string } | null>;
  clock: Clock;
  ids: Ids;
  version: string;
  log: Logger;
  live?: { keepAliveMs?: number; maxStreams?: number; stallMs?: number };
}

/** What Hono hands from the middlewares to the routes. */
export type ApiEnv = {
  Variables: { requestId: string; caller: { name: string; role: string } };
  Bindings: { timeout?: (request: Request, seconds: number) => void };
};

/** Answers with a problem that carries the request's id. */
export function problem(
  c: Context<ApiEnv>,
  error: unknown,
  sharper: { status?: number; title?: string; headers?: Record<string, string> } = {},
): Response {
  return problemResponse(error, { requestId: c.get("requestId"), ...sharper });
}
