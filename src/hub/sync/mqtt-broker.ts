import { createServer, type TLSSocket } from "node:tls";
import type { Socket } from "node:net";
import type { Aedes, Client } from "aedes";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import { type ListenAddress, listenError } from "../../core/listen.ts";
import type { Logger } from "../../core/logger.ts";
import { agentTopics, HUB_FILTERS } from "../../protocol/mqtt-topics.ts";
import { MESSAGE_LIMIT } from "../../protocol/transport-grpc.ts";
import { certificatesOf } from "../../protocol/transport-tls.ts";
import type { MqttBus, OnMessage } from "./mqtt-bus.ts";
import { peerIdentity } from "./peer-certificate.ts";

export interface EmbeddedBrokerOptions {
  listen: ListenAddress;
  /** PEM, as of the sync server. */
  tls: { certificate: string; key: string; ca: string };
  clock: Clock;
  log: Logger;
  onMessage: OnMessage;
  maxConnections?: number;
}

export interface EmbeddedBroker extends MqttBus {
  readonly port: number;
}

const HANDSHAKE_MS = 10_000;
const MAX_CONNECTIONS = 10_000;
/** An agent that comes back has its older connection open for a while. */
const MAX_OF_ONE_AGENT = 4;
/** A client that does not read what is sent to it is dropped. */
const DRAIN_TIMEOUT_MS = 60_000;

/**
 * The broker inside the hub: MQTT 3.1.1 over TLS, for clients with an agent's certificate, each of which reaches only its
 * own topics. Nothing is kept for a client that is away.
 */
export async function startBroker(options: EmbeddedBrokerOptions): Promise<EmbeddedBroker> {
  const { Aedes } = await import("aedes");
  const aedes = await Aedes.createBroker({
    connectTimeout: HANDSHAKE_MS,
    drainTimeout: DRAIN_TIMEOUT_MS,
    maxInflightInbound: 1,
    maxTopicLevels: 4,
    maxClientsIdLength: 128,
  });
  const guard = new TopicGuard(aedes, options);
  const sockets = new Set<Socket>();
  const { tls, listen, log } = options;
  const server = createServer(
    {
      cert: tls.certificate,
      key: tls.key,
      ca: tls.ca,
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: HANDSHAKE_MS,
    },
    (socket) => guard.accept(socket),
  );
  server.on("connection", (socket: Socket) => {
    if (sockets.size >= (options.maxConnections ?? MAX_CONNECTIONS)) {
      log.warn("connection to the broker refused: too many are open", { peer: socket.remoteAddress });
      socket.destroy();
      return;
    }
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  server.on("tlsClientError", (error, socket) => {
    log.debug(`a TLS handshake with the broker failed: ${messageOf(error)}`);
    socket.destroy();
  });
  for (const filter of HUB_FILTERS) {
    await new Promise<void>((resolve) =>
      aedes.subscribe(
        filter,
        (packet, done) => {
          options.onMessage(packet.topic, packet.payload as Buffer);
          done();
        },
        resolve,
      ),
    );
  }
  const port = await new Promise<number>((resolve, reject) => {
    server.once("error", (error) => reject(listenError(error, "the MQTT broker", listen, "mqtt.listen")));
    server.listen(listen.port, listen.host, () => resolve((server.address() as { port: number }).port));
  });
  return {
    port,
    publish: (topic, payload) => publishTo(aedes, topic, payload),
    connected: () => true,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await new Promise<void>((resolve) => aedes.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

function publishTo(aedes: Aedes, topic: string, payload: Buffer): Promise<void> {
  return new Promise((resolve, reject) =>
    aedes.publish({ cmd: "publish", topic, payload, qos: 1, dup: false, retain: false }, (error) =>
      error ? reject(error) : resolve(),
    ),
  );
}

/** Who a connection is, from its certificate, and what it may therefore write and read. */
class TopicGuard {
  readonly #options: EmbeddedBrokerOptions;
  readonly #aedes: Aedes;
  readonly #agents = new WeakMap<object, string>();
  readonly #open = new Map<string, number>();

  constructor(aedes: Aedes, options: EmbeddedBrokerOptions) {
    this.#aedes = aedes;
    this.#options = options;
    aedes.preConnect = (_client, packet, done) => done(null, packet.clean === true);
    aedes.authenticate = (client, _user, _password, done) => done(null, this.#mayBe(client));
    aedes.authorizePublish = (client, packet, done) => {
      if (client === null) return done(null);
      const { up, presence } = agentTopics(this.#agentOf(client));
      const allowed =
        packet.qos < 2 &&
        ((packet.topic === up && !packet.retain) || (packet.topic === presence && small(packet.payload)));
      done(allowed ? null : this.#refused(client, `writing to ${packet.topic.slice(0, 200)}`));
    };
    aedes.authorizeSubscribe = (client, subscription, done) => {
      const allowed = subscription.topic === agentTopics(this.#agentOf(client)).down;
      if (allowed) done(null, subscription);
      else done(this.#refused(client, `reading ${subscription.topic.slice(0, 200)}`), null);
    };
    // Broken connections are everyday life; without a listener they would be thrown.
    aedes.on("clientError", () => {});
    aedes.on("connectionError", () => {});
  }

  accept(socket: TLSSocket): void {
    const { tls, clock, log } = this.#options;
    socket.setNoDelay(true);
    socket.on("error", () => {});
    try {
      const { agentId } = peerIdentity(socket, certificatesOf(tls.ca), clock.trusted());
      const open = (this.#open.get(agentId) ?? 0) + 1;
      if (open > MAX_OF_ONE_AGENT)
        throw new HoldfastError("exhausted", `agent ${agentId} has too many connections`);
      this.#open.set(agentId, open);
      socket.once("close", () => this.#closed(agentId));
      const client = this.#aedes.handle(socket);
      this.#agents.set(client, agentId);
      limitPacket(client, () => {
        log.warn("a packet over the limit was refused", { agent: agentId });
        socket.destroy();
      });
    } catch (error) {
      log.warn(`connection to the broker refused: ${messageOf(error)}`, { peer: socket.remoteAddress });
      socket.destroy();
    }
  }

  /** A client id names the agent: nobody can push out another's connection by taking its id. */
  #mayBe(client: Client): boolean {
    return client.id.startsWith(`holdfast-${this.#agentOf(client)}-`);
  }

  #agentOf(client: Client): string {
    return this.#agents.get(client) ?? "";
  }

  #refused(client: Client, what: string): Error {
    this.#options.log.warn(`the broker refused ${what}`, { agent: this.#agentOf(client) });
    return new Error(`not allowed: ${what}`);
  }

  #closed(agentId: string): void {
    const left = (this.#open.get(agentId) ?? 1) - 1;
    if (left > 0) this.#open.set(agentId, left);
    else this.#open.delete(agentId);
  }
}

/**
 * aedes has no limit for a packet's size and collects it whole. A private place of it (the package is pinned for this, and a
 * test fails when it stops working): what the parser holds is looked at after each piece.
 */
function limitPacket(client: Client, tooLarge: () => void): void {
  const { _parser: parser } = client as unknown as {
    _parser: { parse(data: Buffer): number; _list: { length: number } };
  };
  const parse = parser.parse.bind(parser);
  parser.parse = (data) => {
    const left = parse(data);
    if (parser._list.length > MESSAGE_LIMIT) tooLarge();
    return left;
  };
}

function small(payload: string | Buffer): boolean {
  return payload.length <= 32;
}
