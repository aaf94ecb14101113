import type { Clock } from "../../../core/clock.ts";
import type { Endpoint } from "../../../model/grant.ts";
import { parseAddress } from "./address.ts";
import type { Broker } from "./broker.ts";

export const MAX_FLOWS = 64;
const IDLE_MS = 60_000;
/** Datagrams that wait for the name to be resolved. */
const MAX_WAITING = 16;

export interface UdpRelayOptions {
  broker: Broker;
  endpoints: Endpoint[];
  /** Sends a datagram back into the worker's network. */
  answer: (client: Client, data: Buffer) => void;
  report: (error: unknown) => void;
}

/** A socket of the worker's that talks to one port. */
export interface Client {
  /** Where it sends to, as the agent knows it: a name or an address. */
  host: string;
  /** Of the worker's socket. */
  address: string;
  port: number;
}

interface Flow {
  /** Null until it is open. */
  socket: Bun.udp.ConnectedSocket<"buffer"> | null;
  waiting: Buffer[];
  usedAt: number;
  cancel: () => void;
}

/** Datagrams between a worker and one port of granted hosts. */
export class UdpRelay {
  readonly #options: UdpRelayOptions;
  readonly #port: number;
  readonly #clock: Clock;
  readonly #flows = new Map<string, Flow>();
  #closed = false;

  constructor(port: number, options: UdpRelayOptions) {
    this.#options = options;
    this.#port = port;
    this.#clock = options.broker.clock;
  }

  forward(client: Client, data: Buffer): void {
    const key = `${client.address} ${client.port}`;
    const flow = this.#flows.get(key) ?? this.#open(key, client);
    if (!flow) return;
    flow.usedAt = this.#clock.mono();
    if (flow.socket) flow.socket.send(data);
    else if (flow.waiting.length < MAX_WAITING) flow.waiting.push(Buffer.from(data));
  }

  close(): void {
    this.#closed = true;
    for (const key of this.#flows.keys()) this.#end(key);
  }

  #open(key: string, client: Client): Flow | null {
    if (this.#closed || this.#flows.size >= MAX_FLOWS) return null;
    const flow: Flow = { socket: null, waiting: [], usedAt: this.#clock.mono(), cancel: () => {} };
    this.#flows.set(key, flow);
    this.#connect(key, flow, client).catch((error: unknown) => {
      this.#options.report(error);
      this.#end(key);
    });
    this.#endWhenIdle(key, flow);
    return flow;
  }

  async #connect(key: string, flow: Flow, client: Client): Promise<void> {
    const { broker, endpoints, answer } = this.#options;
    const [address] = await broker.addresses({ endpoints, host: client.host, port: this.#port });
    const socket = await Bun.udpSocket({
      hostname: parseAddress(address!)?.bytes.length === 16 ? "::" : "0.0.0.0",
      connect: { hostname: address!, port: this.#port },
      socket: {
        data: (_socket, data) => {
          flow.usedAt = this.#clock.mono();
          answer(client, data);
        },
        // Nobody listens there: datagrams may be lost, and the worker is not told.
        error: () => {},
      },
    });
    if (this.#flows.get(key) !== flow) return socket.close();
    flow.socket = socket;
    for (const data of flow.waiting.splice(0)) socket.send(data);
  }

  #endWhenIdle(key: string, flow: Flow): void {
    const idle = this.#clock.mono() - flow.usedAt;
    if (idle >= IDLE_MS) return this.#end(key);
    flow.cancel = this.#clock.after(IDLE_MS - idle, () => this.#endWhenIdle(key, flow));
  }

  #end(key: string): void {
    const flow = this.#flows.get(key);
    if (!flow) return;
    this.#flows.delete(key);
    flow.cancel();
    flow.socket?.close();
  }
}
