import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import { hashToken, JOIN_PREFIX, newToken } from "./tokens.ts";

const MINUTE_MS = 60_000;
const MAX_TTL_MS = 30 * 86_400_000;
const MAX_USES = 10_000;

export const DEFAULT_JOIN_TTL_MS: number = 86_400_000;

export interface JoinToken {
  token: string;
  expiresMs: number;
  /** What to run on the agent's host; the id is left to the person. */
  command: string;
}

export interface JoinTokenOptions {
  store: {
    addJoinToken(token: { hash: string; expiresMs: number; uses: number; createdMs: number }): Promise<void>;
  };
  clock: Clock;
  ids: Ids;
  /** `sha256:…` of the CA's key. */
  pin: string;
  /** `grpcs://…` as agents reach this hub. */
  url: string;
}

/** Makes a join token; only its hash is stored. Throws `invalid` for uses or a life out of bounds. */
export async function createJoinToken(
  options: JoinTokenOptions,
  uses: number,
  ttlMs: number,
): Promise<JoinToken> {
  if (!Number.isInteger(uses) || uses < 1 || uses > MAX_USES) {
    throw new HoldfastError("invalid", `A join token has 1 to ${MAX_USES} uses, not ${uses}`);
  }
  if (!(ttlMs >= MINUTE_MS && ttlMs <= MAX_TTL_MS)) {
    throw new HoldfastError("invalid", `A join token lives 1m to 30d, not ${ttlMs} ms`);
  }
  const { store, clock, ids, pin, url } = options;
  const token = newToken(JOIN_PREFIX, ids);
  const createdMs = clock.trusted();
  const expiresMs = createdMs + Math.floor(ttlMs);
  await store.addJoinToken({ hash: hashToken(token), expiresMs, uses, createdMs });
  return {
    token,
    expiresMs,
    command: `holdfast agent enroll --hub ${url} --token ${token} --ca-pin ${pin} --id ID`,
  };
}

/** `grpcs://host:port`, with brackets around an IPv6 address. A free port is not known before the hub runs. */
export function agentUrl(host: string, port: number | "PORT"): string {
  return `grpcs://${host.includes(":") ? `[${host}]` : host}:${port}`;
}
