import { createServer, type Server as NetServer, type Socket } from "node:net";
import type { handleUnaryCall, Metadata, Server, ServerCredentials } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import { asHoldfastError, HoldfastError, messageOf } from "../../core/errors.ts";
import { type ListenAddress, listenError } from "../../core/listen.ts";
import type { Logger } from "../../core/logger.ts";
import { type EnrollRequest, type EnrollResponse, SyncService } from "../../protocol/gen/holdfast/v1/sync.ts";
import {
  KEEPALIVE_MS,
  KEEPALIVE_TIMEOUT_MS,
  MESSAGE_LIMIT,
  WINDOW_BYTES,
} from "../../protocol/transport-grpc.ts";
import { certificatesOf } from "../../protocol/transport-tls.ts";
import { type AgentStream, serveAgentStream } from "./agent-stream.ts";
import { checkEnrollSize, RateLimit } from "./enroll-guard.ts";
import { GrpcAgentStream, socketOf, statusOf, type SyncCall, widenWindow } from "./grpc-stream.ts";
import { LiveAgents } from "./live-agents.ts";
import { peerIdentity } from "./peer-certificate.ts";
import type { SyncSessions } from "./sessions.ts";

export interface SyncServerOptions {
  listen: ListenAddress;
  /** PEM. `certificate` is the server's followed by the CA's: an agent that enrolls finds the pinned CA there. */
  tls: { certificate: string; key: string; ca: string };
  sessions: SyncSessions;
  /** Shared with the other transports: an agent has one session, whatever carries it. */
  live?: LiveAgents<AgentStream>;
  log: Logger;
  clock: Clock;
  /** From a connection to its first call, and from a call to its hello. */
  helloTimeoutMs?: number;
  maxConnections?: number;
  enrollments?: { perSecond: number; burst: number };
}

export interface SyncServer {
  readonly port: number;
  /** Agents with a session. */
  connections(): number;
  /** Frames since start that this version does not know. */
  ignoredFrames(): number;
  /** Ends the agent's session and its connection; it may come back only if `hello` lets it. */
  cut(agentId: string, reason: string): void;
  /** Takes no new connection, ends every session with "going down", and resolves when all is closed. */
  drain(): Promise<void>;
}

const HELLO_TIMEOUT_MS = 10_000;
const MAX_CONNECTIONS = 10_000;
const DRAIN_MS = 2000;

/** One TLS port for Enroll (no client certificate) and Connect (one of our CA, checked for each stream). */
export async function startSyncServer(options: SyncServerOptions): Promise<SyncServer> {
  const grpc = await import("@grpc/grpc-js");
  const credentials = grpc.ServerCredentials.createSsl(
    Buffer.from(options.tls.ca),
    [{ private_key: Buffer.from(options.tls.key), cert_chain: Buffer.from(options.tls.certificate) }],
    true,
  );
  const server = new grpc.Server(SERVER_OPTIONS);
  const listener = new SyncListener(options, server, () => new grpc.Metadata());
  await listener.start(credentials);
  return listener;
}

const SERVER_OPTIONS = {
  "grpc.max_receive_message_length": MESSAGE_LIMIT,
  "grpc.max_send_message_length": MESSAGE_LIMIT,
  "grpc.max_concurrent_streams": 4,
  "grpc.keepalive_time_ms": KEEPALIVE_MS,
  "grpc.keepalive_timeout_ms": KEEPALIVE_TIMEOUT_MS,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.max_connection_idle_ms": 60_000,
};

class SyncListener implements SyncServer {
  port = 0;
  readonly #options: SyncServerOptions;
  readonly #server: Server;
  readonly #metadata: () => Metadata;
  readonly #live: LiveAgents<AgentStream>;
  readonly #sockets = new Map<string, Socket>();
  readonly #serving = new Set<Promise<void>>();
  readonly #enrollments: RateLimit;
  readonly #net: NetServer;
  readonly #helloTimeoutMs: number;
  #ignored = 0;

  constructor(options: SyncServerOptions, server: Server, metadata: () => Metadata) {
    this.#options = options;
    this.#live = options.live ?? new LiveAgents();
    this.#server = server;
    this.#metadata = metadata;
    this.#helloTimeoutMs = options.helloTimeoutMs ?? HELLO_TIMEOUT_MS;
    const { perSecond, burst } = options.enrollments ?? { perSecond: 20, burst: 50 };
    this.#enrollments = new RateLimit(options.clock, perSecond, burst);
    this.#net = createServer({ noDelay: true });
  }

  async start(credentials: ServerCredentials): Promise<void> {
    const authorities = certificatesOf(this.#options.tls.ca);
    // Two private places of grpc-js (pinned; the server's tests fail when one stops working). Let clients without a
    // certificate in, since Enroll comes over the same port; and open the stream windows, which have no option.
    Object.assign(credentials._getConstructorOptions() ?? {}, { rejectUnauthorized: false });
    (this.#server as unknown as { commonServerOptions: object }).commonServerOptions = {
      ...(this.#server as unknown as { commonServerOptions: object }).commonServerOptions,
      settings: { initialWindowSize: WINDOW_BYTES, maxConcurrentStreams: 4 },
    };
    this.#server.addService(SyncService, {
      enroll: this.#enroll,
      connect: (call: SyncCall) => this.#connect(call, authorities),
    });
    const injector = this.#server.createConnectionInjector(credentials);
    this.#net.on("connection", (socket: Socket) =>
      this.#accept(socket, () => injector.injectConnection(socket)),
    );
    await this.#listen();
  }

  connections(): number {
    return this.#live.count;
  }

  ignoredFrames(): number {
    return this.#ignored;
  }

  cut(agentId: string, reason: string): void {
    const stream = this.#live.get(agentId);
    if (!stream) return;
    stream.end(new HoldfastError("unauthenticated", reason));
    // Time for the status to go out; the peer may not be reading.
    this.#options.clock.after(100, () => this.#sockets.get(stream.peer)?.destroy());
  }

  async drain(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#net.close(() => resolve()));
    this.#live.endAll(new HoldfastError("unreachable", "the hub is going down; it will be back"));
    await Promise.race([Promise.all(this.#serving), this.#options.clock.sleep(DRAIN_MS)]);
    // The last statuses are written but perhaps not sent.
    await this.#options.clock.sleep(50);
    for (const socket of this.#sockets.values()) socket.destroy();
    this.#server.forceShutdown();
    await closed;
  }

  #listen(): Promise<void> {
    const { listen } = this.#options;
    return new Promise((resolve, reject) => {
      this.#net.once("error", (error) => reject(listenError(error, "the sync server", listen, "--listen")));
      this.#net.listen(listen.port, listen.host, () => {
        this.port = (this.#net.address() as { port: number }).port;
        resolve();
      });
    });
  }

  /** A connection has to come to a call soon; what it may hold until then is bounded by their number. */
  #accept(socket: Socket, inject: () => void): void {
    const peer = peerOf(socket);
    if (this.#sockets.size >= (this.#options.maxConnections ?? MAX_CONNECTIONS)) {
      this.#options.log.warn("connection refused: too many are open", { peer });
      socket.destroy();
      return;
    }
    this.#sockets.set(peer, socket);
    this.#idle.set(
      peer,
      this.#options.clock.after(this.#helloTimeoutMs, () => socket.destroy()),
    );
    socket.on("error", () => {});
    socket.once("close", () => {
      this.#used(peer);
      this.#sockets.delete(peer);
    });
    inject();
  }

  readonly #idle = new Map<string, () => void>();

  #used(peer: string): void {
    this.#idle.get(peer)?.();
    this.#idle.delete(peer);
  }

  readonly #enroll: handleUnaryCall<EnrollRequest, EnrollResponse> = async (call, callback) => {
    const peer = call.getPeer();
    this.#used(peer);
    try {
      this.#enrollments.take();
      checkEnrollSize(call.request);
      callback(null, await this.#options.sessions.enroll(call.request, peer));
    } catch (error) {
      const told = error instanceof HoldfastError ? error : internal(error);
      this.#options.log.warn(`enrollment refused: ${messageOf(error)}`, { peer, code: told.code });
      callback(statusOf(told, this.#metadata()));
    }
  };

  #connect(call: SyncCall, authorities: Parameters<typeof peerIdentity>[1]): void {
    const { clock, log, sessions } = this.#options;
    this.#used(call.getPeer());
    call.on("error", () => {});
    try {
      const identity = peerIdentity(socketOf(call), authorities, clock.trusted());
      widenWindow(call);
      const serving: Promise<void> = serveAgentStream(new GrpcAgentStream(call, identity, this.#metadata), {
        sessions,
        live: this.#live,
        clock,
        log,
        helloTimeoutMs: this.#helloTimeoutMs,
        ignored: () => this.#ignored++,
      }).finally(() => this.#serving.delete(serving));
      this.#serving.add(serving);
    } catch (error) {
      const told = asHoldfastError(error, "the client certificate cannot be read");
      log.warn(`connection refused: ${told.message}`, { peer: call.getPeer(), code: told.code });
      call.emit("error", statusOf(told, this.#metadata()));
    }
  }
}

function internal(cause: unknown): HoldfastError {
  return new HoldfastError("failed", "internal error of the hub; its log says more", { cause });
}

/** As grpc-js writes it in `getPeer`. */
function peerOf(socket: Socket): string {
  return `${socket.remoteAddress}:${socket.remotePort}`;
}
