import { type BackoffPolicy, backoffDelay } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { asHoldfastError, HoldfastError, messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import type { Hello } from "../../protocol/gen/holdfast/v1/sync.ts";
import type { Session, Transport } from "../../protocol/transport.ts";

export interface FailoverOptions {
  /** The transport to have, with a look whether its other end is there that opens no session. */
  preferred: Transport & { probe(signal: AbortSignal): Promise<void> };
  /** The one to use while that cannot be had. */
  other: Transport;
  /** Without the preferred one for so long, the other is used. */
  failoverAfterMs: number;
  /** Between looks whether the preferred one is back; two in a row must find it. */
  probeMs?: number;
  clock: Clock;
  ids: Ids;
  log: Logger;
}

const PROBE_MS = 5000;
const MAX_PROBE_MS = 300_000;
const PROBES_TO_HOLD = 2;
/** A return that lasted so long was right: the next outage counts from its own beginning. */
const STEADY_MS = 30_000;
const RETRY: BackoffPolicy = { kind: "exponential", initialMs: 500, maxMs: 5000 };

/**
 * Two ways to one hub. Each session goes one way from its beginning to its end: what was on the way when it ended is sent
 * again in the next, from where the hub says that it is, so that a change loses and doubles nothing.
 */
export class FailoverTransport implements Transport {
  readonly #options: FailoverOptions;
  #name: string;
  /** By the monotonic clock: since when the preferred transport has not been there. */
  #failingSince: number | undefined;
  #probeMs: number;
  #failovers = 0;

  constructor(options: FailoverOptions) {
    this.#options = options;
    this.#name = options.preferred.name;
    this.#probeMs = options.probeMs ?? PROBE_MS;
  }

  /** Of the session that is open, or was last. */
  get name(): string {
    return this.#name;
  }

  /** Sessions that were opened on the other transport. */
  get failovers(): number {
    return this.#failovers;
  }

  async connect(hello: Hello, signal: AbortSignal): Promise<Session> {
    if (this.#dueInMs() === 0) return await this.#connectOther(hello, signal);
    const known = this.#failingSince !== undefined;
    const { clock, ids } = this.#options;
    this.#failingSince ??= clock.mono();
    for (let failures = 1; ; failures++) {
      const error = await this.#tryPreferred(hello, signal);
      if (!(error instanceof HoldfastError)) return error;
      // The first failure is told at once; after it the wait must not run past the moment to change over.
      if (isAnswer(error)) this.#failingSince = undefined;
      if (!known || isAnswer(error)) throw error;
      const left = this.#dueInMs();
      if (left === 0) return await this.#connectOther(hello, signal, error);
      await clock.sleep(
        Math.min(
          left,
          backoffDelay(RETRY, failures, () => ids.random()),
        ),
        signal,
      );
    }
  }

  /** The session, or why there is none; no later than when it is time to change over. */
  async #tryPreferred(hello: Hello, signal: AbortSignal): Promise<Session | HoldfastError> {
    const { preferred, clock } = this.#options;
    const inner = new AbortController();
    const onAbort = () => inner.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    const late = new HoldfastError("unreachable", `no session over ${preferred.name} in time`);
    const cancel = clock.after(this.#dueInMs(), () => inner.abort(late));
    try {
      const session = await preferred.connect(hello, inner.signal);
      this.#use(preferred);
      this.#watchPreferred(session);
      return session;
    } catch (error) {
      signal.throwIfAborted();
      return asHoldfastError(error, preferred.name);
    } finally {
      cancel();
      signal.removeEventListener("abort", onAbort);
    }
  }

  async #connectOther(hello: Hello, signal: AbortSignal, why?: HoldfastError): Promise<Session> {
    const { other, preferred, log } = this.#options;
    try {
      const session = await other.connect(hello, signal);
      this.#use(other);
      this.#failovers++;
      log.warn(`no session over ${preferred.name}: using ${other.name}`, { reason: why?.message ?? null });
      void this.#lookForPreferred(session, signal);
      return session;
    } catch (error) {
      signal.throwIfAborted();
      const session = await this.#afterBothFailed(hello, signal);
      if (!(session instanceof HoldfastError)) return session;
      throw new HoldfastError(
        asHoldfastError(error, other.name).code,
        `${session.message}; and over ${other.name}: ${messageOf(error)}`,
      );
    }
  }

  /** The other transport is gone as well: the preferred one may be back. */
  async #afterBothFailed(hello: Hello, signal: AbortSignal): Promise<Session | HoldfastError> {
    const { preferred } = this.#options;
    try {
      const session = await preferred.connect(hello, signal);
      this.#use(preferred);
      this.#watchPreferred(session);
      return session;
    } catch (error) {
      signal.throwIfAborted();
      return asHoldfastError(error, preferred.name);
    }
  }

  /** While the other transport carries a session: ends it when the preferred one is there again and stays there. */
  async #lookForPreferred(session: Session, signal: AbortSignal): Promise<void> {
    const { preferred, clock, log } = this.#options;
    const inner = new AbortController();
    const onAbort = () => inner.abort();
    signal.addEventListener("abort", onAbort, { once: true });
    void session.closed.then(onAbort);
    for (let found = 0; found < PROBES_TO_HOLD;) {
      await clock.sleep(this.#probeMs, inner.signal).catch(() => {});
      if (inner.signal.aborted) break;
      found = await preferred.probe(inner.signal).then(
        () => found + 1,
        () => 0,
      );
    }
    signal.removeEventListener("abort", onAbort);
    if (inner.signal.aborted) return;
    log.info(`${preferred.name} is there again: going back to it from ${this.#name}`);
    // If it is there for a look but not for a session, the next ones are further apart, and the way back is short.
    this.#failingSince =
      clock.mono() - this.#options.failoverAfterMs + Math.min(2000, this.#options.failoverAfterMs);
    this.#probeMs = Math.min(MAX_PROBE_MS, this.#probeMs * 2);
    session.close(`${preferred.name} is there again`);
  }

  #watchPreferred(session: Session): void {
    const { clock, probeMs } = this.#options;
    this.#failingSince = undefined;
    const cancel = clock.after(STEADY_MS, () => (this.#probeMs = probeMs ?? PROBE_MS));
    void session.closed.then(() => {
      cancel();
      this.#failingSince ??= clock.mono();
    });
  }

  #use(transport: Transport): void {
    this.#name = transport.name;
  }

  #dueInMs(): number {
    const { clock, failoverAfterMs } = this.#options;
    if (this.#failingSince === undefined) return failoverAfterMs;
    return Math.max(0, this.#failingSince + failoverAfterMs - clock.mono());
  }
}

/** The hub has answered, with a refusal: another way to it would bring the same. */
function isAnswer(error: HoldfastError): boolean {
  return error.code !== "unreachable" && error.code !== "timed_out";
}
