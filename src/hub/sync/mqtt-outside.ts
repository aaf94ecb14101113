import type { Logger } from "../../core/logger.ts";
import { BrokerClient } from "../../protocol/mqtt-client.ts";
import { HUB_FILTERS } from "../../protocol/mqtt-topics.ts";
import { parseBrokerUrl } from "../../protocol/transport-address.ts";
import type { MqttBus, OnMessage } from "./mqtt-bus.ts";

export interface OutsideBrokerOptions {
  /** `mqtts://host:port` or `mqtt://host:port` */
  url: string;
  hubId: string;
  /** PEM; trusted beside the public authorities. */
  ca: string;
  /** PEM; shown to a broker that asks. */
  identity?: { key: string; certificate: string } | undefined;
  onMessage: OnMessage;
  log: Logger;
}

const CONNECT_TIMEOUT_MS = 10_000;
const COME_BACK_MS = 2000;

/**
 * A broker that others run. The hub is a persistent client of it: what agents send while the hub's connection is broken
 * waits there. Throws `unreachable` when it is not there at the start.
 */
export async function joinBroker(options: OutsideBrokerOptions): Promise<MqttBus> {
  const { url, hubId, ca, identity, onMessage, log } = options;
  const address = parseBrokerUrl(url);
  let there = true;
  const client = await BrokerClient.connect({
    address,
    clientId: `holdfast-hub-${hubId}`,
    ca,
    identity,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    persistentAfterMs: COME_BACK_MS,
    onMessage,
    onLost: (why) => {
      if (there)
        log.warn(`the connection to the broker at ${address.text} broke: ${why}; the hub tries again`);
      there = false;
    },
    onBack: () => {
      if (!there) log.info("connected to the broker again", { broker: address.text });
      there = true;
    },
  });
  await client.subscribe(HUB_FILTERS);
  return {
    publish: (topic, payload) => client.publish(topic, payload),
    connected: () => there,
    close: () => client.end(),
  };
}
