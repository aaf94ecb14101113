import { HoldfastError, messageOf } from "../../../core/errors.ts";
import type { Logger } from "../../../core/logger.ts";
import { type Carrier, pump } from "./pump.ts";

export const MAX_CONNECTIONS = 64;
const MAX_TOLD = 100;

export interface ConnectionsOptions {
  log: Logger;
  /** What was refused, like `network example.org:443`. */
  onDenied: (what: string) => void;
  max?: number;
}

/** All connections of one worker's that the agent relays. */
export class Connections {
  readonly #options: ConnectionsOptions;
  readonly #sockets = new Set<Carrier>();
  /** Told in the log already: a worker that tries again and again does not fill it. */
  readonly #told = new Set<string>();
  #count = 0;
  #closed = false;

  constructor(options: ConnectionsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#count;
  }

  /** Counts a socket that the worker has opened; false, with the socket reset, when there are too many. */
  admit(client: Carrier): boolean {
    client.on("error", () => {});
    const { max = MAX_CONNECTIONS, log } = this.#options;
    if (this.#closed || this.#count >= max) {
      if (this.#isNews("too many")) log.warn(`network: a worker has ${max} connections; more are refused`);
      client.resetAndDestroy();
      return false;
    }
    this.#count++;
    this.#keep(client);
    client.once("close", () => this.#count--);
    return true;
  }

  /**
   * Opens the other side of an admitted socket and carries bytes between both. `first` goes ahead of what the client
   * sends, `greeting` ahead of what the other side does.
   */
  async join(
    client: Carrier,
    open: () => Promise<Carrier>,
    { first, greeting, refuse = reset }: { first?: Buffer; greeting?: string; refuse?: Refuse } = {},
  ): Promise<void> {
    let upstream: Carrier;
    try {
      upstream = await open();
    } catch (error) {
      this.report(error);
      refuse(client, error);
      return;
    }
    if (client.destroyed || this.#closed) {
      upstream.destroy();
      return;
    }
    this.#keep(upstream);
    if (first && first.length > 0) upstream.write(first);
    if (greeting) client.write(greeting);
    pump(client, upstream, () => {});
  }

  /** Tells what was denied; what only failed is the worker's own business. */
  report(error: unknown): void {
    const { log, onDenied } = this.#options;
    if (!(error instanceof HoldfastError) || error.code !== "denied") {
      log.debug(`network: ${messageOf(error)}`);
      return;
    }
    if (this.#isNews(error.message)) log.info(`${error.message}: ${String(error.details?.reason)}`);
    onDenied(error.message.replace(/^denied: /, ""));
  }

  close(): void {
    this.#closed = true;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  #isNews(message: string): boolean {
    if (this.#told.has(message) || this.#told.size >= MAX_TOLD) return false;
    this.#told.add(message);
    return true;
  }

  #keep(socket: Carrier): void {
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }
}

export type Refuse = (client: Carrier, error: unknown) => void;

function reset(client: Carrier): void {
  client.resetAndDestroy();
}
