import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import type { Clock } from "../../core/clock.ts";
import { asHoldfastError, HoldfastError, messageOf, systemCode } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { Json } from "../../model/json.ts";
import { answerLine, MAX_REQUEST_BYTES, parseRequest, type ServiceRequest } from "./request-line.ts";

const MAX_CONNECTIONS = 64;
/** For a request to arrive in full. */
const REQUEST_MS = 10_000;
/** For the other side to take its answer and close. */
const LINGER_MS = 2_000;

export interface Peer {
  pid: number;
  uid: number;
}

/** What the service stands on; the composition root hands it in. */
export interface HostServicePorts {
  /** The kernel's word about who is at the other end; null when it has none. */
  peerOf(fd: number): Peer | null;
  isAllowed(uid: number): boolean;
  /** False when this user asks too often. */
  mayAsk(uid: number): boolean;
  perform(request: ServiceRequest, peer: Peer): Promise<Json>;
  /** One line for a connection that was turned away. */
  refused(peer: Peer | null, reason: string): Promise<void>;
  clock: Clock;
  log: Logger;
}

export interface HostService {
  /** Takes no more connections; resolves when what is under way was answered. */
  close(): Promise<void>;
}

interface Connection {
  chunks: Buffer[];
  size: number;
  /** What the kernel did not take yet. */
  unsent: Buffer;
  answered: boolean;
  peer: Peer | null;
  cancelTimeout: () => void;
}
type Client = Bun.Socket<Connection>;

/**
 * Accepts one JSON line a connection and answers with one. A path is made anew with mode 0666: who may ask is decided by the
 * uid that the kernel tells. A descriptor (of systemd) is used as it is.
 */
export async function startHostService(
  where: { path: string } | { fd: number },
  ports: HostServicePorts,
): Promise<HostService> {
  if ("path" in where) await removeStale(where.path);
  const server = new Server(ports);
  const listener = listen(where, server);
  if ("path" in where) chmodSync(where.path, 0o666);
  return {
    async close() {
      listener.stop(false);
      await server.idle();
      if ("path" in where) unlinkIfThere(where.path);
    },
  };
}

class Server {
  readonly #ports: HostServicePorts;
  readonly #underWay = new Set<Promise<void>>();
  /** Of those who may ask: nobody else takes their places. */
  readonly #accepted = new Set<Client>();

  constructor(ports: HostServicePorts) {
    this.#ports = ports;
  }

  async idle(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  opened(client: Client): void {
    const peer = this.#peerOf(client);
    const cancelTimeout = this.#ports.clock.after(REQUEST_MS, () => client.terminate());
    client.data = { chunks: [], size: 0, unsent: Buffer.alloc(0), answered: false, peer, cancelTimeout };
    if (peer === null) this.#turnAway(client, "the kernel does not tell who asks");
    else if (!this.#ports.isAllowed(peer.uid)) {
      this.#turnAway(client, `uid ${peer.uid} is not in the allow list of this service`);
    } else if (this.#accepted.add(client).size > MAX_CONNECTIONS) {
      this.#refuse(client, "busy", "too many connections: try again");
    }
  }

  received(client: Client, chunk: Buffer): void {
    const state = client.data;
    if (state.answered || state.peer === null) return;
    const end = chunk.indexOf(0x0a);
    const part = end === -1 ? chunk : chunk.subarray(0, end);
    state.chunks.push(Buffer.from(part));
    state.size += part.length;
    if (state.size > MAX_REQUEST_BYTES) {
      return this.#refuse(client, "too_large", `a request may have ${MAX_REQUEST_BYTES} bytes`);
    }
    if (end === -1) return;
    state.answered = true;
    state.cancelTimeout();
    const handled = this.#handle(client, Buffer.concat(state.chunks).toString("utf8"), state.peer);
    this.#underWay.add(handled);
    void handled.finally(() => this.#underWay.delete(handled));
  }

  drained(client: Client): void {
    const { unsent } = client.data;
    if (unsent.length === 0) return;
    const written = Math.max(0, client.write(unsent));
    client.data.unsent = unsent.subarray(written);
    if (written === unsent.length) this.#finish(client);
  }

  /** Only our side: closing what has unread bytes would reset the connection and lose the answer. */
  #finish(client: Client): void {
    client.shutdown();
    client.data.cancelTimeout();
    client.data.cancelTimeout = this.#ports.clock.after(LINGER_MS, () => client.terminate());
  }

  closed(client: Client): void {
    this.#accepted.delete(client);
    client.data.cancelTimeout();
  }

  #peerOf(client: Client): Peer | null {
    const { fd } = client as unknown as { fd?: number };
    return fd === undefined || fd < 0 ? null : this.#ports.peerOf(fd);
  }

  async #handle(client: Client, line: string, peer: Peer): Promise<void> {
    try {
      const request = parseRequest(line);
      const result = await this.#ports.perform(request, peer);
      this.#send(client, answerLine({ result }));
    } catch (error) {
      this.#send(client, answerLine({ error: asHoldfastError(error, "host service") }));
    }
  }

  #refuse(client: Client, code: "busy" | "too_large" | "denied" | "exhausted", message: string): void {
    client.data.answered = true;
    this.#send(client, answerLine({ error: new HoldfastError(code, message) }));
  }

  /** Whoever may not ask could fill the audit and our descriptors: beyond its rate it gets neither a line nor an answer. */
  #turnAway(client: Client, reason: string): void {
    const { peer } = client.data;
    if (!this.#ports.mayAsk(peer?.uid ?? -1)) return void client.terminate();
    this.#refuse(client, "denied", `denied: ${reason}`);
    const { log } = this.#ports;
    void this.#ports
      .refused(peer, reason)
      .catch((error: unknown) => log.error("a refusal is not in the audit", { error: messageOf(error) }));
  }

  #send(client: Client, line: string): void {
    client.data.unsent = Buffer.from(line);
    this.drained(client);
  }
}

function listen(where: { path: string } | { fd: number }, server: Server): Bun.SocketListener<Connection> {
  const handlers: Bun.SocketHandler<Connection> = {
    open: (client) => server.opened(client),
    data: (client, chunk) => server.received(client, chunk),
    drain: (client) => server.drained(client),
    close: (client) => server.closed(client),
    error: (client) => void client.terminate(),
  };
  try {
    const options = "path" in where ? { unix: where.path } : { fd: where.fd };
    return Bun.listen<Connection>({
      ...options,
      socket: handlers,
    } as unknown as Bun.UnixSocketOptions<Connection>) as unknown as Bun.SocketListener<Connection>;
  } catch (error) {
    const place = "path" in where ? where.path : `descriptor ${where.fd}`;
    throw new HoldfastError("failed", `cannot listen on ${place}: ${messageOf(error)}`, { cause: error });
  }
}

/** A socket that nobody listens on any more is in the way; anything else there is not ours to remove. */
async function removeStale(path: string): Promise<void> {
  try {
    if (!lstatSync(path).isSocket()) {
      throw new HoldfastError("conflict", `${path} is there and is not a socket: choose another path`);
    }
  } catch (error) {
    if (systemCode(error) === "ENOENT") return;
    throw error;
  }
  const answers = await Bun.connect({ unix: path, socket: { data() {} } }).then(
    (socket) => (socket.terminate(), true),
    () => false,
  );
  if (answers) throw new HoldfastError("conflict", `a host service is running on ${path}: stop it first`);
  unlinkIfThere(path);
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
}
