import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import type { MetricFamily } from "../../core/metrics.ts";
import { type Identity, type Open, signOpened, verifyOpen } from "../../protocol/mqtt-opening.ts";
import { agentTopics, NO_SESSION, PRESENCE, topicOf } from "../../protocol/mqtt-topics.ts";
import {
  type DroppedMessage,
  type DropReason,
  NONCE_BYTES,
  Opener,
  Sealer,
  sessionKeys,
  sessionOf,
} from "../../protocol/sealed-session.ts";
import { certificatesOf } from "../../protocol/transport-tls.ts";
import { type AgentStream, serveAgentStream } from "./agent-stream.ts";
import { RateLimit } from "./enroll-guard.ts";
import type { LiveAgents } from "./live-agents.ts";
import type { MqttBus } from "./mqtt-bus.ts";
import { mqttMetrics } from "./mqtt-metrics.ts";
import { MqttAgentStream } from "./mqtt-stream.ts";
import { certifiedAgent, type PeerIdentity } from "./peer-certificate.ts";
import type { SyncSessions } from "./sessions.ts";

export interface MqttServerOptions {
  /** PEM. `certificate` is the server's, with others after it. */
  tls: { certificate: string; key: string; ca: string };
  sessions: SyncSessions;
  /** Shared with the other transports: an agent has one session, whatever carries it. */
  live: LiveAgents<AgentStream>;
  clock: Clock;
  ids: Ids;
  log: Logger;
  helloTimeoutMs?: number;
  openings?: { perSecond: number; burst: number };
  /** See SealedChannel. */
  keepaliveMs?: number;
}

const HELLO_TIMEOUT_MS = 10_000;
const DRAIN_MS = 2000;
/** Sessions of one agent at a time: the current one, older ones that are ending, and those without a hello yet. */
const MAX_OF_ONE_AGENT = 4;

/** Sessions of agents that come through a broker. */
export class MqttServer {
  readonly #options: MqttServerOptions;
  readonly #identity: Identity;
  readonly #authorities: X509Certificate[];
  readonly #openings: RateLimit;
  readonly #hints: RateLimit;
  /** By agent, then by the session's id in hex. */
  readonly #streams = new Map<string, Map<string, MqttAgentStream>>();
  readonly #serving = new Set<Promise<void>>();
  readonly #dropped = new Map<string, number>();
  #bus: MqttBus | undefined;
  #ignored = 0;
  #draining = false;

  constructor(options: MqttServerOptions) {
    this.#options = options;
    const { tls, clock } = options;
    this.#identity = {
      certificate: new X509Certificate(tls.certificate),
      privateKey: createPrivateKey(tls.key),
    };
    this.#authorities = certificatesOf(tls.ca);
    const { perSecond, burst } = options.openings ?? { perSecond: 200, burst: 1000 };
    this.#openings = new RateLimit(clock, perSecond, burst);
    this.#hints = new RateLimit(clock, 50, 200);
  }

  /** What sends. Messages that come in before are dropped. */
  use(bus: MqttBus): void {
    this.#bus = bus;
  }

  /** A message of a topic of `HUB_FILTERS`. Never throws. */
  take(topic: string, payload: Buffer): void {
    const to = topicOf(topic);
    if (to === null || this.#bus === undefined) return;
    if (to.kind === "presence") {
      if (payload.equals(Buffer.from(PRESENCE.offline))) this.#gone(to.agentId);
    } else if (to.kind === "up") this.#takeUp(to.agentId, payload);
  }

  /** Sessions that are open. */
  connections(): number {
    let count = 0;
    for (const streams of this.#streams.values()) count += streams.size;
    return count;
  }

  /** Messages dropped since start. */
  dropped(reason: DropReason | "opening"): number {
    return this.#dropped.get(reason) ?? 0;
  }

  ignoredFrames(): number {
    return this.#ignored;
  }

  metrics(): MetricFamily[] {
    return mqttMetrics(this.connections(), this.#bus?.connected() === true, this.#dropped);
  }

  /** Ends every session with "going down", takes no new one, and leaves the broker. */
  async drain(): Promise<void> {
    this.#draining = true;
    for (const streams of this.#streams.values()) {
      for (const stream of streams.values()) {
        stream.end(new HoldfastError("unreachable", "the hub is going down; it will be back"));
      }
    }
    await Promise.race([Promise.all(this.#serving), this.#options.clock.sleep(DRAIN_MS)]);
    await this.#bus?.close();
  }

  #takeUp(agentId: string, payload: Buffer): void {
    const session = sessionOf(payload);
    if (session === null) return this.#open(agentId, payload);
    const stream = this.#streams.get(agentId)?.get(session);
    if (stream) return stream.receive(payload);
    this.#count("other session");
    this.#options.log.debug("a message of a session that is not open", { agent: agentId });
    if (allowed(this.#hints)) this.#publish(agentTopics(agentId).down, NO_SESSION);
  }

  #gone(agentId: string): void {
    for (const stream of this.#streams.get(agentId)?.values() ?? []) stream.doubt();
  }

  #open(agentId: string, payload: Buffer): void {
    if (this.#draining || !allowed(this.#openings)) return this.#count("opening");
    try {
      const shown = verifyOpen(payload, (certificate) => certificate);
      if (shown.open.agentId !== agentId)
        throw new HoldfastError("denied", "it stands in another agent's topic");
      try {
        const identity = this.#identify(shown.certificate, agentId);
        this.#begin(identity, shown.open, shown.certificate);
      } catch (error) {
        // Who asked has the key of the certificate it showed, and is told what is wrong with that.
        if (error instanceof HoldfastError) this.#answer(shown.open, Buffer.alloc(0), error);
        throw error;
      }
    } catch (error) {
      this.#count("opening");
      const code = error instanceof HoldfastError ? error.code : "failed";
      this.#options.log.warn(`a session through the broker was refused: ${messageOf(error)}`, {
        agent: agentId,
        code,
      });
    }
  }

  #identify(certificate: X509Certificate, agentId: string): PeerIdentity {
    const identity = certifiedAgent(certificate, this.#authorities, this.#options.clock.trusted());
    if (identity.agentId !== agentId) {
      throw new HoldfastError(
        "denied",
        `the certificate is for agent "${identity.agentId}", not for "${agentId}"`,
      );
    }
    return identity;
  }

  #begin(identity: PeerIdentity, request: Open, certificate: X509Certificate): void {
    const { agentId } = identity;
    const { clock, ids } = this.#options;
    const topics = agentTopics(agentId);
    const nonce = Buffer.from(ids.hex(NONCE_BYTES), "hex");
    const parties = {
      agentId,
      agent: { certificate, nonce: request.nonce },
      hub: { certificate: this.#identity.certificate, nonce },
    };
    const keys = sessionKeys(parties, { privateKey: this.#identity.privateKey, peer: certificate }, topics);
    const stream = new MqttAgentStream({
      identity,
      sealer: new Sealer(keys.id, keys.down, this.#identity.privateKey),
      opener: new Opener(keys.id, keys.up, certificate.publicKey),
      clock,
      publish: (message) => this.#bus!.publish(topics.down, message),
      onDropped: (dropped) => this.#onDropped(agentId, dropped),
      keepaliveMs: this.#options.keepaliveMs,
    });
    this.#serve(stream, keys.id.toString("hex"));
    this.#answer(request, nonce);
  }

  #serve(stream: MqttAgentStream, session: string): void {
    const { sessions, live, clock, log, helloTimeoutMs } = this.#options;
    const { agentId } = stream;
    const own = this.#streams.get(agentId) ?? new Map<string, MqttAgentStream>();
    if (own.size >= MAX_OF_ONE_AGENT) this.#makeRoom(agentId, own);
    this.#streams.set(agentId, own.set(session, stream));
    const serving: Promise<void> = serveAgentStream(stream, {
      sessions,
      live,
      clock,
      log,
      helloTimeoutMs: helloTimeoutMs ?? HELLO_TIMEOUT_MS,
      ignored: () => this.#ignored++,
    }).finally(() => {
      this.#serving.delete(serving);
      own.delete(session);
      if (own.size === 0) this.#streams.delete(agentId);
    });
    this.#serving.add(serving);
  }

  /** Old openings that somebody sends again have no hello to follow, and must not keep out the agent's next one. */
  #makeRoom(agentId: string, own: Map<string, MqttAgentStream>): void {
    const current = this.#options.live.get(agentId);
    const oldest = [...own].find(([, stream]) => stream !== current);
    if (!oldest) return;
    own.delete(oldest[0]);
    oldest[1].end(new HoldfastError("exhausted", "too many sessions of this agent were being opened"));
  }

  #answer({ agentId, nonce: agentNonce }: Open, nonce: Buffer, error?: HoldfastError): void {
    const code = error?.code ?? "";
    const message = error?.message ?? "";
    const answer = signOpened({ agentId, agentNonce, nonce, code, message }, this.#identity);
    this.#publish(agentTopics(agentId).down, answer);
  }

  #publish(topic: string, payload: Buffer): void {
    this.#bus!.publish(topic, payload).catch((error: unknown) =>
      this.#options.log.debug(`the broker did not take a message: ${messageOf(error)}`),
    );
  }

  #onDropped(agent: string, { reason, message }: DroppedMessage): void {
    this.#count(reason);
    this.#options.log.warn(message, { agent, reason });
  }

  #count(reason: DropReason | "opening"): void {
    this.#dropped.set(reason, (this.#dropped.get(reason) ?? 0) + 1);
  }
}

function allowed(limit: RateLimit): boolean {
  try {
    limit.take();
    return true;
  } catch {
    return false;
  }
}
