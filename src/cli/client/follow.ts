import { backoffDelay } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { asHoldfastError, HoldfastError } from "../../core/errors.ts";
import { readSse } from "./sse.ts";

export type Query = Record<string, string | number | undefined>;

export type StreamState =
  | { kind: "connected"; again: boolean }
  | { kind: "lost"; reason: string }
  /** The hub's store is another one than before: some rows may be in the lists only. */
  | { kind: "reset" };

export interface StreamOptions {
  signal: AbortSignal;
  filter?: Query;
  /** Start after this number instead of now. */
  after?: number;
  onState?: (state: StreamState) => void;
  /** Keep trying also when the very first connection fails. */
  persist?: boolean;
}

export interface FollowOptions<T> extends StreamOptions {
  name: string;
  clock: Clock;
  random: () => number;
  parse: (data: string) => T;
  open: (lastId: string, signal: AbortSignal) => Promise<Response>;
}

/** The hub says something every 15 s; a connection that is silent for longer is dead, whatever TCP says. */
const SILENCE_MS = 45_000;

/**
 * Rows of a live stream until the signal aborts (then it ends without an error). A lost connection is opened again with
 * `Last-Event-ID`, so that no row is missed or doubled. What a new try cannot mend (a wrong token) is thrown, and
 * so is a first connection that fails, unless `persist`.
 */
export async function* followStream<T>(options: FollowOptions<T>): AsyncGenerator<T> {
  const { signal, clock } = options;
  let lastId = "";
  let retryMs = 1000;
  let connected = false;
  let failures = 0;
  while (!signal.aborted) {
    const connection = new AbortController();
    const both = AbortSignal.any([signal, connection.signal]);
    try {
      const response = await options.open(lastId, both);
      options.onState?.({ kind: "connected", again: connected });
      connected = true;
      const chunks = watched(response, clock, connection);
      const hooks = {
        onId: (id: string) => void (lastId = id || lastId),
        onRetry: (ms: number) => void (retryMs = ms),
      };
      for await (const message of readSse(chunks, hooks)) {
        failures = 0;
        if (message.event === "reset") options.onState?.({ kind: "reset" });
        if (message.event === options.name) yield options.parse(message.data);
      }
      if (!signal.aborted) options.onState?.({ kind: "lost", reason: "the hub closed the stream" });
    } catch (error) {
      if (signal.aborted) return;
      const known = asHoldfastError(error, "the live stream broke");
      if (!mayMend(known) || (!connected && !options.persist)) throw known;
      options.onState?.({ kind: "lost", reason: known.message });
    } finally {
      connection.abort();
    }
    failures++;
    const policy = { kind: "exponential", initialMs: Math.max(100, retryMs), maxMs: 15_000 } as const;
    await clock.sleep(backoffDelay(policy, failures, options.random), signal).catch(() => {});
  }
}

/** Broken connections come as plain errors (code `failed`, no status); answers of a hub carry their status. */
function mayMend(error: HoldfastError): boolean {
  return error.retryable || (error.code === "failed" && error.cause !== undefined);
}

/** The chunks of a body, ended by an error when nothing came for `SILENCE_MS`. */
async function* watched(
  response: Response,
  clock: Clock,
  connection: AbortController,
): AsyncGenerator<Uint8Array> {
  const silent = new HoldfastError("unreachable", `nothing came from the hub for ${SILENCE_MS / 1000} s`);
  const watch = () => clock.after(SILENCE_MS, () => connection.abort(silent));
  let cancel = watch();
  try {
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      cancel();
      yield chunk;
      cancel = watch();
    }
  } finally {
    cancel();
  }
}
