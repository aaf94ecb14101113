import { type BackoffPolicy, backoffDelay } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { asHoldfastError, HoldfastError, messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import type { HostFacts } from "../../model/agent-status.ts";
import type { ProposedEvent } from "../../model/event.ts";
import type { StreamCursor } from "../../model/record.ts";
import {
  AGENT_CAPABILITIES,
  type Capability,
  type Common,
  commonCapabilities,
} from "../../protocol/capabilities.ts";
import type { Hello, Welcome } from "../../protocol/gen/holdfast/v1/sync.ts";
import { PROTOCOL_VERSION, type Transport } from "../../protocol/transport.ts";
import { exchange } from "./exchange.ts";
import type { OutboxPort } from "./ports.ts";
import { hubLossEvent, hubLossProof, hubLossStatus, hubLossText } from "./hub-loss.ts";
import type { HubLoss, ReceiptBook } from "./receipt-book.ts";
import { receiptsByLane, type SyncStatus } from "./sync-status.ts";
import { cursorsOf } from "./welcome.ts";

export interface SyncOptions {
  transport: Transport;
  outbox: OutboxPort;
  agent: { id: string; labels: Record<string, string> };
  facts: () => HostFacts | Promise<HostFacts>;
  status: () => unknown;
  /** Without one, acks count without receipts, and the hub is told so. */
  receipts?: ReceiptBook;
  /** Keeps an event of the agent's own. */
  tell?: (event: ProposedEvent) => Promise<unknown>;
  heartbeatMs: number;
  clock: Clock;
  ids: Ids;
  log: Logger;
  backoff?: BackoffPolicy;
}

const BACKOFF: BackoffPolicy = { kind: "exponential", initialMs: 500, maxMs: 30_000 };
/** A session that lived this long counts as working even if no rows were acknowledged. */
const STEADY_MS = 10_000;
const CLOCK_WARNING_MS = 5 * 60_000;
/** Trusted time never goes back, so one lie must not carry it far: a hub's time further ahead is not believed. */
const PLAUSIBLE_AHEAD_MS = 400 * 86_400_000;

/** Keeps a session with the hub for as long as it runs, and says how that goes. */
export class Sync {
  readonly #options: SyncOptions;
  #state: SyncStatus["state"] = "connecting";
  #sinceMs: number;
  #lastError: string | null = null;
  #hubId: string | null = null;
  #clockOffsetMs: number | null = null;
  #sessions = 0;
  #progress = false;
  #unknownFrames = 0;
  #hubLosses = 0;
  #hubLost: HubLoss[] = [];

  constructor(options: SyncOptions) {
    this.#options = options;
    this.#sinceMs = options.clock.wall();
  }

  status(): SyncStatus {
    const { outbox, transport } = this.#options;
    return {
      state: this.#state,
      sinceMs: this.#sinceMs,
      lastError: this.#lastError ?? outbox.problem(),
      lagRows: outbox.lagRows(),
      backlogRows: outbox.backlogRows(),
      transport: this.#state === "online" ? transport.name : null,
      hubId: this.#hubId,
      clockOffsetMs: this.#clockOffsetMs,
      reconnects: Math.max(0, this.#sessions - 1),
      receipts: receiptsByLane(this.#options.receipts?.newest(outbox.epoch) ?? []),
      hubLost: this.#hubLost.filter((loss) => this.#options.receipts?.isNewest(loss)).map(hubLossStatus),
      counts: {
        unknownFrames: this.#unknownFrames,
        receiptsVerified: this.#options.receipts?.counts.verified ?? 0,
        receiptsWrong: this.#options.receipts?.counts.wrong ?? 0,
        hubLosses: this.#hubLosses,
      },
    };
  }

  /** Runs until the signal aborts; resolves after the drain. Errors of sessions show in the status and the log. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, ids, log, receipts } = this.#options;
    await receipts?.load().catch((error: unknown) => {
      log.warn(`receipts cannot be read from the store: ${messageOf(error)}`);
    });
    for (let failures = 0; !signal.aborted;) {
      const started = clock.mono();
      this.#progress = false;
      const error = await this.#session(signal).then(
        () => null,
        (thrown: unknown) => asHoldfastError(thrown, "sync"),
      );
      if (signal.aborted) break;
      if (this.#progress || clock.mono() - started >= STEADY_MS) failures = 0;
      failures++;
      this.#offline(error ?? new HoldfastError("unreachable", "the session ended"));
      const asked = Number(error?.details?.retryAfterMs ?? 0);
      const wait = Math.max(
        asked,
        backoffDelay(this.#options.backoff ?? BACKOFF, failures, () => ids.random()),
      );
      await clock.sleep(wait, signal).catch(() => {});
    }
    this.#set("offline");
  }

  async #session(signal: AbortSignal): Promise<void> {
    const { transport, outbox, clock, log, heartbeatMs, status, receipts } = this.#options;
    const asked = clock.wall();
    const session = await transport.connect(await this.#hello(), signal);
    try {
      const cursors = cursorsOf(session.welcome);
      this.#welcomed(session.welcome, asked);
      const common = commonCapabilities(this.#capabilities(), session.welcome.capabilities);
      await this.#takeReceipts(session.welcome, cursors, common);
      await outbox.begin(cursors, common, Number(session.welcome.backlogBytesPerSecond));
      this.#sessions++;
      this.#lastError = null;
      this.#set("online");
      log.info("connected to the hub", { hub: this.#hubId, transport: transport.name });
      await exchange(
        {
          agent: this.#options.agent.id,
          session,
          common,
          outbox,
          clock,
          heartbeatMs,
          status,
          onProgress: () => (this.#progress = true),
          onUnknownFrame: () => this.#unknownFrame(),
          receipts: common.has("receipts") ? receipts : undefined,
        },
        signal,
      );
    } catch (error) {
      if (!(error instanceof HoldfastError) || !isFork(error) || signal.aborted) throw error;
      await outbox.renew(error.message);
      throw error;
    } finally {
      session.close();
    }
  }

  async #hello(): Promise<Hello> {
    const { agent, outbox, clock, facts } = this.#options;
    return {
      protocol: PROTOCOL_VERSION,
      capabilities: this.#capabilities(),
      agentId: agent.id,
      epoch: outbox.epoch,
      labels: agent.labels,
      facts: JSON.stringify(await facts()),
      wallMs: BigInt(clock.wall()),
    };
  }

  #welcomed(welcome: Welcome, askedMs: number): void {
    const { clock, log } = this.#options;
    const now = clock.wall();
    const hubMs = Number(welcome.wallMs);
    this.#hubId = welcome.hubId;
    const offset = Math.round(hubMs - (askedMs + now) / 2);
    const warned = Math.abs(this.#clockOffsetMs ?? 0) > CLOCK_WARNING_MS;
    this.#clockOffsetMs = offset;
    if (Math.abs(offset) > CLOCK_WARNING_MS && !warned) {
      log.warn(
        `this host's clock is ${Math.abs(Math.round(offset / 1000))} s ${offset > 0 ? "behind" : "ahead of"} the hub's`,
        {
          host: new Date(now).toISOString(),
          hub: new Date(hubMs).toISOString(),
        },
      );
    }
    if (hubMs - clock.trusted() <= PLAUSIBLE_AHEAD_MS) clock.trust(hubMs);
  }

  #capabilities(): Capability[] {
    return AGENT_CAPABILITIES.filter((each) => each !== "receipts" || this.#options.receipts !== undefined);
  }

  async #takeReceipts(
    { hubId, receiptCertificates }: Welcome,
    cursors: StreamCursor[],
    common: Common,
  ): Promise<void> {
    const { receipts, outbox } = this.#options;
    if (receipts === undefined) return;
    await receipts.begin(hubId, receiptCertificates, common.has("receipts"));
    const known = this.#hubLost;
    this.#hubLost = receipts.lostBy(hubId, outbox.epoch, cursors);
    for (const loss of this.#hubLost) {
      if (!known.some(({ receipt }) => receipt === loss.receipt)) this.#hubHasLost(loss);
    }
  }

  #hubHasLost(loss: HubLoss): void {
    const { log, tell } = this.#options;
    this.#hubLosses++;
    log.error(hubLossText(hubLossStatus(loss)), hubLossProof(loss));
    tell?.(hubLossEvent(loss)).catch((error: unknown) => {
      log.warn("the event of rows that the hub lost could not be kept", { error: messageOf(error) });
    });
  }

  #unknownFrame(): void {
    this.#unknownFrames++;
    this.#options.log.debug("a frame of the hub is not known to this version", {
      total: this.#unknownFrames,
    });
  }

  #offline(error: HoldfastError): void {
    const { log } = this.#options;
    const known = this.#state === "offline" && this.#lastError === error.message;
    const fields = { code: error.code, lagRows: this.#options.outbox.lagRows() };
    // Said once, not at each try of an outage.
    if (known) log.debug(`still offline: ${messageOf(error)}`, fields);
    else log.warn(`offline: ${messageOf(error)}`, fields);
    this.#lastError = error.message;
    this.#set("offline");
  }

  #set(state: SyncStatus["state"]): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#sinceMs = this.#options.clock.wall();
  }
}

/** A conflict that the hub's status reports (a replaced session) is not one of histories. */
function isFork(error: HoldfastError): boolean {
  return error.code === "conflict" && error.details?.fork === true;
}
