import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createOutbox } from "../agent/outbox/outbox.ts";
import { keep, sent } from "../agent/store/store-fixtures.ts";
import { ReceiptBook } from "../agent/sync/receipt-book.ts";
import { Sync, type SyncOptions } from "../agent/sync/sync.ts";
import { type Clock, systemClock } from "../core/clock.ts";
import { systemIds } from "../core/ids.ts";
import { createLogger, silentLogger } from "../core/logger.ts";
import { type CertificateAuthority, createCa, openCa, type PemPair } from "../hub/enrollment/certificates.ts";
import { ReceiptSigner } from "../hub/enrollment/receipt-signer.ts";
import { Fleet } from "../hub/fleet/fleet.ts";
import { Ingest } from "../hub/ingest/ingest.ts";
import { openHubStore, type SqlHubStore } from "../hub/store/hub-store.ts";
import type { SyncSessions } from "../hub/sync/sessions.ts";
import type { HostFacts } from "../model/agent-status.ts";
import type { ProposedEvent } from "../model/event.ts";
import type { HubFrame } from "../protocol/gen/holdfast/v1/sync.ts";
import type { Session, Transport } from "../protocol/transport.ts";
import { type InProcessStore, openInProcessStore } from "./in-process-store.ts";
import { LoopbackHub } from "./loopback-transport.ts";

export const AGENT = "web-01";

/** The hub's rooms from a session to the disk, in a folder of their own. */
export class ReceiptHub {
  readonly file: string;
  readonly written: PemPair[] = [];
  readonly ca: CertificateAuthority;
  readonly clock: Clock;
  store!: SqlHubStore;
  signer!: ReceiptSigner;
  sessions!: SyncSessions;

  private constructor(file: string, ca: CertificateAuthority, clock: Clock) {
    this.file = file;
    this.ca = ca;
    this.clock = clock;
  }

  static async start(file: string, clock: Clock = systemClock()): Promise<ReceiptHub> {
    const ids = systemIds();
    const ca = await openCa(await createCa("Holdfast test", clock.trusted(), ids), ids);
    const hub = new ReceiptHub(file, ca, clock);
    await hub.open(await ca.receipts(clock.trusted()));
    await hub.#enroll();
    return hub;
  }

  async open(pair: PemPair): Promise<void> {
    const { file, clock, ca } = this;
    this.store = await openHubStore({ file, clock, ids: systemIds() });
    this.written.push(pair);
    const make = () => ca.receipts(clock.trusted());
    const write = (made: PemPair) => void this.written.push(made);
    this.signer = await ReceiptSigner.open({
      ...{ pair, make, write, store: this.store, clock },
      log: silentLogger(),
    });
    const fleet = new Fleet({ store: this.store, clock, log: silentLogger() });
    const ingest = new Ingest({ store: this.store, clock, log: silentLogger() });
    this.sessions = {
      enroll: async () => Promise.reject(new Error("nobody enrolls here")),
      hello: async (agent, hello) => ({
        ...(await fleet.hello(agent, hello)),
        receiptCertificates: this.signer.certificates(),
      }),
      heartbeat: (agent, heartbeat) => fleet.heartbeat(agent, heartbeat),
      records: (agent, batch) => ingest.records(agent, batch),
      receipt: (agent, cursor) => this.signer.sign(agent, cursor),
      opened: (agent, transport) => fleet.opened(agent, transport),
      closed: (agent) => fleet.closed(agent),
    };
  }

  async #enroll(): Promise<void> {
    const nowMs = this.clock.trusted();
    await this.store.addJoinToken({ hash: "t", expiresMs: nowMs + 60_000, uses: 1, createdMs: nowMs });
    const certificate = { certificateSerial: "01", certificateExpiresMs: nowMs + 1 };
    await this.store.enroll({
      tokenHash: "t",
      nowMs,
      agent: { id: AGENT, publicKey: "aa", ...certificate, labels: {} },
    });
  }
}

/** Changes frames of the hub on their way; undefined swallows one. */
export type Tamper = (frame: HubFrame) => HubFrame | undefined;

export function tampered(transport: Transport, tamper: Tamper): Transport {
  return {
    name: transport.name,
    async connect(hello, signal): Promise<Session> {
      const session = await transport.connect(hello, signal);
      const changed = tamper({ frame: { $case: "welcome", value: session.welcome } })?.frame;
      return {
        welcome: changed?.$case === "welcome" ? changed.value : session.welcome,
        send: (frame) => session.send(frame),
        closed: session.closed,
        close: () => session.close(),
        frames: (async function* () {
          for await (const frame of session.frames) {
            const passed = tamper(frame);
            if (passed !== undefined) yield passed;
          }
        })(),
      };
    },
  };
}

/** An agent's rooms from the store to a session. */
export class ReceiptAgent {
  readonly store: InProcessStore;
  readonly sync: Sync;
  readonly events: ProposedEvent[];
  readonly lines: string[];
  readonly stop: () => Promise<void>;

  private constructor(parts: Pick<ReceiptAgent, "store" | "sync" | "events" | "lines" | "stop">) {
    this.store = parts.store;
    this.sync = parts.sync;
    this.events = parts.events;
    this.lines = parts.lines;
    this.stop = parts.stop;
  }

  static async start(
    path: string,
    hub: ReceiptHub,
    options: { tamper?: Tamper; sentRows?: number; clock?: Clock } & Partial<SyncOptions> = {},
  ): Promise<ReceiptAgent> {
    const { tamper = (frame) => frame, sentRows = 10_000, clock = systemClock(), ...more } = options;
    const store = await openInProcessStore({
      ...{ path, ids: systemIds(), wall: () => clock.wall(), time: clock },
      retention: {
        ...{ sent: sent(sentRows), heldForOutputs: sentRows, events: keep(sentRows) },
      },
    });
    const events: ProposedEvent[] = [];
    const lines: string[] = [];
    const log = createLogger({
      sinks: [{ write: (line) => void lines.push(line) }],
      level: () => "info",
      wall: () => clock.wall(),
    });
    const sync = new Sync({
      transport: tampered(new LoopbackHub(hub.sessions).transport(AGENT), tamper),
      outbox: createOutbox({ store, log }),
      agent: { id: AGENT, labels: {} },
      facts: () => ({ hostname: "h" }) as HostFacts,
      status: () => ({}),
      receipts: new ReceiptBook({ agent: AGENT, store, authority: async () => hub.ca.certificate, log }),
      tell: async (event) => void events.push(event),
      ...{ heartbeatMs: 1000, clock, ids: systemIds(), log },
      backoff: { kind: "exponential", initialMs: 5, maxMs: 20 },
      ...more,
    });
    const abort = new AbortController();
    const running = sync.run(abort.signal);
    const stop = async () => {
      abort.abort(new Error("stopping"));
      await running;
      await store.close();
    };
    return new ReceiptAgent({ store, sync, events, lines, stop });
  }

  async unacknowledged(): Promise<number> {
    const streams = await this.store.streams();
    return streams.reduce((sum, { last, acknowledged }) => sum + last - acknowledged, 0);
  }
}

export function receiptFolder(): { path: (name: string) => string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-receipts-"));
  return {
    path: (name) => join(folder, name),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}
