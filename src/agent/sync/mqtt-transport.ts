import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import type { Hello } from "../../protocol/gen/holdfast/v1/sync.ts";
import { BrokerClient } from "../../protocol/mqtt-client.ts";
import { type Identity, type Open, signOpen, verifyOpened } from "../../protocol/mqtt-opening.ts";
import { agentTopics, NO_SESSION, PRESENCE } from "../../protocol/mqtt-topics.ts";
import {
  type DroppedMessage,
  NONCE_BYTES,
  Opener,
  Sealer,
  sessionKeys,
} from "../../protocol/sealed-session.ts";
import type { Session, Transport } from "../../protocol/transport.ts";
import { parseBrokerUrl } from "../../protocol/transport-address.ts";
import { certificatesOf } from "../../protocol/transport-tls.ts";
import { type AgentCertificates, readCertificates } from "./certificates.ts";
import { hubCertificateProblem } from "./hub-certificate.ts";
import { MqttSession } from "./mqtt-session.ts";

export interface MqttTransportOptions {
  /** `mqtts://host:port` or `mqtt://host:port` */
  url: string;
  /** Folder with ca.crt, agent.crt and agent.key. */
  certificates: string;
  clock: Clock;
  ids: Ids;
  log: Logger;
  /** From dialling to the hub's welcome. */
  connectTimeoutMs?: number;
  /** See SealedChannel. */
  keepaliveMs?: number;
}

/** Messages since the start that were not the hub's next one, by why. */
type DropCounts = Map<DroppedMessage["reason"], number>;

const CONNECT_TIMEOUT_MS = 10_000;

/** Frames through a broker, sealed; one connection and one pair of nonces a session. */
export function mqttTransport(options: MqttTransportOptions): Transport {
  const address = parseBrokerUrl(options.url);
  const timeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
  const drops: DropCounts = new Map();
  return {
    name: "mqtt",
    async connect(hello: Hello, signal: AbortSignal): Promise<Session> {
      signal.throwIfAborted();
      const certificates = await readCertificates(options.certificates);
      const dialling = new Dialling(options, address, certificates, drops);
      const stopped = Promise.withResolvers<never>();
      stopped.promise.catch(() => {});
      const onAbort = () => stopped.reject(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      const cancel = options.clock.after(timeoutMs, () => stopped.reject(late(address.text, timeoutMs)));
      try {
        return await Promise.race([dialling.connect(hello), stopped.promise]);
      } catch (error) {
        dialling.abandon();
        throw error;
      } finally {
        cancel();
        signal.removeEventListener("abort", onAbort);
      }
    },
  };
}

/** One try to open a session. */
class Dialling {
  readonly #options: MqttTransportOptions;
  readonly #address: ReturnType<typeof parseBrokerUrl>;
  readonly #certificates: AgentCertificates;
  readonly #identity: Identity;
  readonly #drops: DropCounts;
  readonly #abandoned = new AbortController();
  readonly #opened = Promise.withResolvers<ReturnType<typeof verifyOpened>>();
  #request: Open | undefined;
  #client: BrokerClient | undefined;
  #session: MqttSession | undefined;

  constructor(
    options: MqttTransportOptions,
    address: ReturnType<typeof parseBrokerUrl>,
    certificates: AgentCertificates,
    drops: DropCounts,
  ) {
    this.#drops = drops;
    this.#options = options;
    this.#address = address;
    this.#certificates = certificates;
    this.#identity = {
      certificate: new X509Certificate(certificates.identity.certificate),
      privateKey: createPrivateKey(certificates.identity.key),
    };
    this.#opened.promise.catch(() => {});
  }

  async connect(hello: Hello): Promise<Session> {
    const { clock, ids } = this.#options;
    // Who we are stands in our certificate; a hello that says otherwise is for the hub to refuse.
    const agentId = certifiedId(this.#identity.certificate);
    const topics = agentTopics(agentId);
    const client = await this.#dial(agentId, topics.presence);
    await client.subscribe([topics.down]);
    const nonce = Buffer.from(ids.hex(NONCE_BYTES), "hex");
    this.#request = { agentId, nonce };
    await client.publish(topics.up, signOpen(this.#request, this.#identity));
    const hub = await this.#opened.promise;
    const { certificate, privateKey } = this.#identity;
    const parties = { agentId, agent: { certificate, nonce }, hub };
    const keys = sessionKeys(parties, { privateKey, peer: hub.certificate }, topics);
    this.#session = new MqttSession({
      client,
      clock,
      up: topics.up,
      sealer: new Sealer(keys.id, keys.up, privateKey),
      opener: new Opener(keys.id, keys.down, hub.certificate.publicKey),
      onDropped: (dropped) => this.#dropped(dropped),
      keepaliveMs: this.#options.keepaliveMs,
    });
    await this.#session.start(hello);
    void client.publish(topics.presence, PRESENCE.online, true).catch(() => {});
    return this.#session;
  }

  abandon(): void {
    this.#abandoned.abort(new HoldfastError("cancelled", "given up"));
    this.#session?.abandon("given up");
    this.#client?.drop();
  }

  async #dial(agentId: string, presence: string): Promise<BrokerClient> {
    const { ids } = this.#options;
    this.#client = await BrokerClient.connect(
      {
        address: this.#address,
        // A broker drops an older connection of the same client id: sessions are the hub's to end.
        clientId: `holdfast-${agentId}-${ids.hex(4)}`,
        ca: this.#certificates.ca,
        identity: this.#certificates.identity,
        will: { topic: presence, payload: PRESENCE.offline },
        connectTimeoutMs: this.#options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS,
        onMessage: (_topic, payload) => this.#take(payload),
        onLost: (why) => this.#lost(why),
      },
      this.#abandoned.signal,
    );
    return this.#client;
  }

  /** Before the session is open only the hub's answer counts; what else comes is of earlier sessions. */
  #take(payload: Buffer): void {
    if (payload.equals(NO_SESSION)) return this.#session?.doubt();
    if (this.#session) return this.#session.receive(payload);
    if (!this.#request) return;
    try {
      const authorities = certificatesOf(this.#certificates.ca);
      const trust = (certificate: X509Certificate) => {
        const problem = hubCertificateProblem(certificate, authorities, this.#options.clock);
        if (problem) throw problem;
      };
      this.#opened.resolve(verifyOpened(payload, this.#request, trust));
    } catch (error) {
      // What proves nothing must not end the try; only a signed refusal does, or the hub's own expired certificate.
      if (error instanceof HoldfastError && error.details?.refused === true) this.#opened.reject(error);
      else this.#options.log.debug(`an answer to opening a session was passed over: ${String(error)}`);
    }
  }

  #lost(why: string): void {
    const message = `the connection to the broker at ${this.#address.text} broke: ${why}`;
    this.#opened.reject(new HoldfastError("unreachable", message));
    this.#session?.abandon(message);
  }

  #dropped({ reason, message }: DroppedMessage): void {
    const total = (this.#drops.get(reason) ?? 0) + 1;
    this.#drops.set(reason, total);
    // Two sessions of one agent share a topic for a moment: that is no attack.
    if (reason === "other session") this.#options.log.debug(message, { total });
    else this.#options.log.warn(message, { reason, total });
  }
}

function certifiedId(certificate: X509Certificate): string {
  return /^CN=(.+)$/.exec(certificate.subject)?.[1] ?? "";
}

function late(broker: string, timeoutMs: number): HoldfastError {
  return new HoldfastError(
    "unreachable",
    `no hub answered through the broker at ${broker} within ${timeoutMs / 1000} s: check that the hub uses this broker, ` +
      "and that the broker lets this agent write to its topic and read from it",
  );
}
