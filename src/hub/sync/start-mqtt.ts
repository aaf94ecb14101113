import { readFileSync } from "node:fs";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import { parseListen } from "../../core/listen.ts";
import { startBroker } from "./mqtt-broker.ts";
import { joinBroker } from "./mqtt-outside.ts";
import { MqttServer, type MqttServerOptions } from "./mqtt-server.ts";

/** Where agents' messages come through: a broker in this process, or one that others run. */
export interface MqttPlace {
  /** HOST:PORT of the broker in the hub. */
  listen?: string | undefined;
  /** `mqtts://host:port` of a broker outside. */
  broker?: string | undefined;
  /** PEM files for the broker outside: whom to trust beside the hub's CA, and what to show. */
  ca?: string | undefined;
  certificate?: string | undefined;
  key?: string | undefined;
}

export interface StartMqttOptions extends MqttServerOptions {
  place: MqttPlace;
  hubId: string;
}

/** Loaded only by a hub that has a broker. Throws when the port is taken, or the broker outside is not there. */
export async function startMqtt(options: StartMqttOptions): Promise<{ server: MqttServer; url: string }> {
  const { place, tls, clock, log, hubId } = options;
  const server = new MqttServer(options);
  const onMessage = (topic: string, payload: Buffer) => server.take(topic, payload);
  if (place.broker !== undefined) {
    const { certificate, key } = place;
    const identity =
      certificate === undefined || key === undefined
        ? undefined
        : { certificate: readPem(certificate), key: readPem(key) };
    const ca = place.ca === undefined ? tls.ca : `${tls.ca}\n${readPem(place.ca)}`;
    server.use(await joinBroker({ url: place.broker, hubId, ca, identity, onMessage, log }));
    return { server, url: place.broker };
  }
  const listen = parseListen(place.listen!);
  const broker = await startBroker({ listen, tls, clock, log, onMessage });
  server.use(broker);
  const host = listen.host.includes(":") ? `[${listen.host}]` : listen.host;
  return { server, url: `mqtts://${host}:${broker.port}` };
}

function readPem(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new HoldfastError("invalid", `cannot read ${path} of the hub's mqtt settings: ${messageOf(error)}`);
  }
}
