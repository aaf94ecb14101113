import { rootCertificates } from "node:tls";
import type { IClientOptions, MqttClient } from "mqtt";
import { HoldfastError, messageOf } from "../core/errors.ts";
import type { BrokerAddress } from "./transport-address.ts";

export interface BrokerClientOptions {
  address: BrokerAddress;
  /** Of this client, unique at the broker. */
  clientId: string;
  /** PEM; trusted beside the public authorities. What goes through is sealed: the broker is trusted with nothing but passing it on. */
  ca?: string | undefined;
  /** PEM; shown to a broker that asks. */
  identity?: { key: string; certificate: string } | undefined;
  /** Published by the broker when this client is gone without a good-bye; retained. */
  will?: { topic: string; payload: string } | undefined;
  connectTimeoutMs: number;
  /** The broker keeps messages for this client while it is away, and the client comes back by itself after so long. */
  persistentAfterMs?: number | undefined;
  onMessage(topic: string, payload: Buffer): void;
  /** The connection is gone; a persistent client comes back by itself. */
  onLost(why: string): void;
  onBack?: (() => void) | undefined;
}

/** A connection to a broker, MQTT 3.1.1, everything at QoS 1. */
export class BrokerClient {
  readonly #client: MqttClient;
  readonly #address: BrokerAddress;
  #ending = false;

  private constructor(client: MqttClient, options: BrokerClientOptions) {
    this.#client = client;
    this.#address = options.address;
    client.on("message", (topic, payload) => options.onMessage(topic, payload));
    let problem = "the broker closed the connection";
    client.on("error", (error) => (problem = messageOf(error)));
    client.on("close", () => {
      if (!this.#ending) options.onLost(problem);
    });
    client.on("connect", () => {
      noDelay(client);
      options.onBack?.();
    });
  }

  /** Throws `unreachable` or `denied`. The library is loaded here and nowhere else, so that who has no broker stays small. */
  static async connect(options: BrokerClientOptions, signal?: AbortSignal): Promise<BrokerClient> {
    const { address } = options;
    const { connect } = await import("mqtt");
    signal?.throwIfAborted();
    const client = connect(clientOptions(options));
    const connected = Promise.withResolvers<void>();
    const fail = (error: unknown) => connected.reject(brokerError(address, messageOf(error)));
    const onClose = () => fail("it closed the connection before MQTT was agreed on (is this an MQTT port?)");
    const onAbort = () => connected.reject(signal?.reason);
    // Never without one: an error that nobody takes ends the process.
    client.on("error", fail);
    client.on("close", onClose);
    client.once("connect", () => connected.resolve());
    signal?.addEventListener("abort", onAbort, { once: true });
    try {
      await connected.promise;
      noDelay(client);
      return new BrokerClient(client, options);
    } catch (error) {
      client.end(true);
      throw error;
    } finally {
      client.off("close", onClose);
      signal?.removeEventListener("abort", onAbort);
    }
  }

  async subscribe(filters: readonly string[]): Promise<void> {
    const granted = await this.#client.subscribeAsync([...filters], { qos: 1 }).catch((error: unknown) => {
      throw brokerError(this.#address, `it did not take a subscription: ${messageOf(error)}`);
    });
    const refused = granted.filter(({ qos }) => qos !== 1).map(({ topic }) => topic);
    if (refused.length === 0) return;
    throw new HoldfastError(
      "denied",
      `the broker at ${this.#address.text} does not let this client read ${refused.join(", ")}: check its access list`,
    );
  }

  /** Resolves when the broker has it. */
  async publish(topic: string, payload: Buffer | string, retain = false): Promise<void> {
    await this.#client.publishAsync(topic, payload, { qos: 1, retain });
  }

  /** Says good-bye, so that the broker does not publish the last will. */
  async end(): Promise<void> {
    this.#ending = true;
    await this.#client.endAsync(!this.#client.connected).catch(() => {});
  }

  /** Drops the connection at once, without a good-bye. */
  drop(): void {
    this.#ending = true;
    this.#client.stream?.destroy();
    this.#client.end(true);
  }
}

function clientOptions(options: BrokerClientOptions): IClientOptions {
  const { address, will, ca, identity, persistentAfterMs } = options;
  return {
    protocol: address.tls ? "mqtts" : "mqtt",
    host: address.host,
    port: address.port,
    clientId: options.clientId,
    protocolVersion: 4,
    clean: persistentAfterMs === undefined,
    reconnectPeriod: persistentAfterMs ?? 0,
    connectTimeout: options.connectTimeoutMs,
    keepalive: 20,
    ...(will
      ? { will: { topic: will.topic, payload: Buffer.from(will.payload), qos: 1, retain: true } }
      : {}),
    ...(address.tls
      ? {
          rejectUnauthorized: true,
          ca: [...(ca === undefined ? [] : [ca]), ...rootCertificates],
          ...(identity ? { key: identity.key, cert: identity.certificate } : {}),
        }
      : {}),
  };
}

/** Small messages one after the other would each wait for the one before to be acknowledged. */
function noDelay(client: MqttClient): void {
  (client.stream as unknown as { setNoDelay?(on: boolean): void }).setNoDelay?.(true);
}

function brokerError(address: BrokerAddress, why: string): HoldfastError {
  return new HoldfastError(
    "unreachable",
    `the broker at ${address.text} cannot be used: ${why}; check the address, that the broker runs, and its access list`,
  );
}
