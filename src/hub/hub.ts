import { compileHotCode } from "../core/jit.ts";
import { rmSync } from "node:fs";
import type { Clock } from "../core/clock.ts";
import { HoldfastError } from "../core/errors.ts";
import type { Ids } from "../core/ids.ts";
import { isLoopback, type ListenAddress, listenError, parseListen } from "../core/listen.ts";
import { acquireLock } from "../core/lock-file.ts";
import type { Logger } from "../core/logger.ts";
import type { MetricFamily } from "../core/metrics.ts";
import type { SinceBoot } from "../core/since-boot.ts";
import { parseSize } from "../core/size.ts";
import { keepTrustedTime, type TimeMark } from "../core/trusted-time.ts";
import { VERSION } from "../core/version.ts";
import { createApi } from "./api/api.ts";
import type { ApiOptions } from "./api/context.ts";
import { createTokenVerifier } from "./auth/tokens.ts";
import type { HubConfig } from "./config.ts";
import { Enrollment } from "./enrollment/enroll.ts";
import { agentUrl, createJoinToken } from "./enrollment/join-tokens.ts";
import { makeHub, type MadeHub, type MakeHubOptions } from "./make-hub.ts";
import { openHubTls } from "./server-certificate.ts";
import { Fleet } from "./fleet/fleet.ts";
import { type HubPhase, startHubHealth } from "./health.ts";
import { type HubHome, makeHubFolders, requireHub, writeDurably } from "./home.ts";
import { Ingest } from "./ingest/ingest.ts";
import { openReceiptSigner } from "./receipt-key.ts";
import { openHubStore, type SqlHubStore } from "./store/hub-store.ts";
import type { AgentStream } from "./sync/agent-stream.ts";
import { startSyncServer, type SyncServer } from "./sync/grpc-server.ts";
import { LiveAgents } from "./sync/live-agents.ts";
import type { MqttServer } from "./sync/mqtt-server.ts";
import type { SyncSessions } from "./sync/sessions.ts";

export interface HubOptions {
  home: HubHome;
  /** With flags laid over it. */
  config: HubConfig;
  clock: Clock;
  sinceBoot: SinceBoot;
  ids: Ids;
  log: Logger;
  logLinesDropped: () => number;
}

/** Requests under way get this long as the hub stops. */
const API_DRAIN_MS = 1000;

export interface RunningHub {
  /** Full URLs. */
  urls: { api: string; grpc: string; health: string; mqtt?: string };
  /** Ends intake, answers what is committed, closes the store. */
  stop(): Promise<void>;
}

/** Makes a new hub's home: CA, server certificate, configuration, first API token and first join token. */
export function initHub(options: Omit<MakeHubOptions, "openStore" | "port">): Promise<MadeHub> {
  const { clock, ids, config } = options;
  const openStore = (file: string) => openHubStore({ file, clock, ids });
  return makeHub({ ...options, port: parseListen(config.sync.listen).port, openStore });
}

/** The hub's composition root: the walk of a batch is sync → ingest → store, and the API reads from there. */
export async function startHub(options: HubOptions): Promise<RunningHub> {
  compileHotCode();
  const { home, clock, log } = options;
  requireHub(home);
  makeHubFolders(home);
  const hub = new HubParts(options);
  try {
    const urls = await hub.start();
    // Last: whoever finds this file finds a hub that answers.
    writeDurably(home.runFile, `${JSON.stringify({ pid: process.pid, ...urls })}\n`, 0o640);
    hub.onStop(() => rmSync(home.runFile, { force: true }));
    log.info("hub started", { version: VERSION, home: home.root, ...urls });
    return {
      urls,
      async stop() {
        const began = clock.mono();
        log.info("hub drains");
        await hub.stop();
        log.info("hub stopped", { tookMs: Math.round(clock.mono() - began) });
      },
    };
  } catch (error) {
    await hub.stop();
    throw error;
  }
}

/** What the API asks of parts other than the store. */
type HubVerbs = Pick<ApiOptions, "createJoinToken" | "rotateReceiptKey">;

/** Opens the parts in order and closes them in the opposite one. */
class HubParts {
  readonly #options: HubOptions;
  readonly #startedMono: number;
  readonly #cleanUp: (() => Promise<void> | void)[] = [];
  #phase: HubPhase = "starting";

  constructor(options: HubOptions) {
    this.#options = options;
    this.#startedMono = options.clock.mono();
  }

  onStop(close: () => Promise<void> | void): void {
    this.#cleanUp.push(close);
  }

  async stop(): Promise<void> {
    this.#phase = "draining";
    for (const close of this.#cleanUp.splice(0).reverse()) await close();
  }

  async start(): Promise<RunningHub["urls"]> {
    const { home, config, clock, ids, log } = this.#options;
    const lock = acquireLock(home.lockFile, "this hub");
    this.onStop(() => lock.release());
    const store = await openHubStore({ file: home.database, clock, ids });
    this.onStop(() => store.close());
    await this.#takeUpTime(store);
    const tls = await openHubTls({ home, names: config.names, nowMs: clock.trusted(), ids, log });

    const receipts = await openReceiptSigner({ home, ca: tls.ca, store, clock, log: log.child("receipts") });
    const ingest = new Ingest({ store, clock, log: log.child("ingest") });
    const { backlog } = this.#options.config.sync;
    const backlogBytesPerSecond = backlog ? parseSize(backlog.rate) : 0;
    const fleet = new Fleet({ ...{ store, clock, log: log.child("fleet") }, backlogBytesPerSecond });
    const enrollment = new Enrollment({ store, ca: tls.ca, clock, log: log.child("enrollment") });
    let sync: SyncServer | undefined;
    let mqtt: MqttServer | undefined;
    const health = this.#startHealth(store, () => [
      ...fleet.metrics(),
      ...ingest.metrics(),
      ...receipts.metrics(),
      unknownFrames((sync?.ignoredFrames() ?? 0) + (mqtt?.ignoredFrames() ?? 0)),
      ...(mqtt?.metrics() ?? []),
    ]);
    const listen = parseListen(config.sync.listen);
    let syncPort = listen.port;
    // Before the sync server, so that agents are the first to go when the hub stops.
    const api = this.#startApi(store, fleet, {
      createJoinToken: (uses, ttlMs) => {
        const url = agentUrl(config.names[0]!, syncPort);
        return createJoinToken({ store, clock, ids, pin: tls.ca.pin, url }, uses, ttlMs);
      },
      rotateReceiptKey: () => receipts.rotate(),
    });
    const sessions: SyncSessions = {
      enroll: (request, peer) => enrollment.enroll(request, peer),
      hello: async (agent, hello) => ({
        ...(await fleet.hello(agent, hello)),
        receiptCertificates: receipts.certificates(),
      }),
      heartbeat: (agent, heartbeat) => fleet.heartbeat(agent, heartbeat),
      records: (agent, batch, publicKey) => ingest.records(agent, batch, publicKey),
      receipt: (agent, cursor) => receipts.sign(agent, cursor),
      opened: (agent, transport) => fleet.opened(agent, transport),
      closed: (agent) => fleet.closed(agent),
    };
    const serving = {
      tls: { certificate: tls.chain, key: tls.key, ca: tls.ca.certificate },
      sessions,
      live: new LiveAgents<AgentStream>(),
      clock,
    };
    const server = await startSyncServer({ ...serving, listen, log: log.child("sync") });
    sync = server;
    this.onStop(() => server.drain());
    syncPort = server.port;
    let broker: string | undefined;
    if (config.mqtt) {
      const { startMqtt } = await import("./sync/start-mqtt.ts");
      const more = { place: config.mqtt, hubId: store.hubId, ids, log: log.child("mqtt") };
      const started = await startMqtt({ ...serving, ...more });
      mqtt = started.server;
      broker = started.url;
      this.onStop(() => started.server.drain());
    }
    this.#phase = "running";
    return {
      api,
      grpc: localUrl(listen, server.port),
      health,
      ...(broker === undefined ? {} : { mqtt: broker }),
    };
  }

  /** Tokens that have run out and certificates that have expired stay so when the host's clock is set back. */
  async #takeUpTime(store: SqlHubStore): Promise<void> {
    const { clock, sinceBoot } = this.#options;
    const marks = {
      read: () => store.setting("trusted_time"),
      write: (mark: TimeMark) => store.setSetting("trusted_time", mark),
    };
    const time = await keepTrustedTime(marks, clock, sinceBoot);
    this.onStop(async () => {
      time.stop();
      await time.keep().catch(() => {});
    });
  }

  #startHealth(store: SqlHubStore, families: () => MetricFamily[]): string {
    const { home, config, clock, logLinesDropped } = this.#options;
    const health = startHubHealth({
      listen: parseListen(config.health.listen),
      phase: () => this.#phase,
      uptimeSeconds: () => (clock.mono() - this.#startedMono) / 1000,
      hubId: store.hubId,
      database: home.database,
      store,
      families,
      logLinesDropped,
    });
    this.onStop(() => health.stop());
    return health.url;
  }

  #startApi(store: SqlHubStore, fleet: Fleet, verbs: HubVerbs): string {
    const { config, clock, ids, log } = this.#options;
    const api = createApi({
      store,
      fleet,
      ...verbs,
      verifyToken: createTokenVerifier({ apiToken: (hash) => store.apiToken(hash), clock }),
      clock,
      ids,
      version: VERSION,
      log: log.child("api"),
    });
    const server = serveApi(api.fetch, parseListen(config.api.listen));
    this.onStop(async () => {
      api.close();
      const cancel = clock.after(API_DRAIN_MS, () => void server.stop(true));
      await server.stop(false);
      cancel();
    });
    return server.url;
  }
}

function unknownFrames(value: number): MetricFamily {
  return {
    name: "holdfast_hub_unknown_frames_total",
    help: "Frames of agents that this version does not know, and passed over",
    type: "counter",
    values: [{ value }],
  };
}

/** Plain HTTP never leaves the machine. */
function serveApi(fetch: ReturnType<typeof createApi>["fetch"], listen: ListenAddress) {
  if (!isLoopback(listen.host)) {
    throw new HoldfastError(
      "invalid",
      `the hub's API speaks plain HTTP and listens on loopback only, not on ${listen.host}: set --api 127.0.0.1:PORT ` +
        "and reach it through an SSH tunnel",
    );
  }
  try {
    // Live streams are silent for long: no idle limit, the API closes what stalls.
    const server = Bun.serve({ hostname: listen.host, port: listen.port, idleTimeout: 0, fetch });
    const host = listen.host.includes(":") ? `[${listen.host}]` : listen.host;
    return { url: `http://${host}:${server.port}`, stop: (now: boolean) => server.stop(now) };
  } catch (error) {
    throw listenError(error, "the hub's API", listen, "--api");
  }
}

/** How a program on this machine reaches the sync port. */
function localUrl(listen: ListenAddress, port: number): string {
  const everywhere: Record<string, string> = { "0.0.0.0": "127.0.0.1", "::": "::1" };
  return agentUrl(everywhere[listen.host] ?? listen.host, port);
}
