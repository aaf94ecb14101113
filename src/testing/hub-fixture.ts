import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../core/clock.ts";
import { HoldfastError } from "../core/errors.ts";
import { systemIds } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import { createApi } from "../hub/api/api.ts";
import type { ApiOptions } from "../hub/api/context.ts";
import { createTokenVerifier } from "../hub/auth/tokens.ts";
import { openHubStore } from "../hub/store/hub-store.ts";
import type { HubStore } from "../hub/store/port.ts";
import type { CloudEvent } from "../model/event.ts";
import type { JsonObject } from "../model/json.ts";
import {
  LANES,
  RECORD_CLASSES,
  type RunRecordBody,
  type StepRecordBody,
  ZERO_HASH,
} from "../model/record.ts";
import { chainHashes } from "../protocol/chain.ts";

export const ADMIN_TOKEN = "hfadm_test-token-0123456789abcdef";
/** A caller whose role may only read: the store knows administrators only, so the fixture adds it in front. */
export const VIEWER_TOKEN = "hfadm_viewer-0123456789abcdef";
const EPOCH = "a".repeat(32);

type ClassName = keyof typeof RECORD_CLASSES;

/** A hub as the API sees it: the real store, the API on a free loopback port, and ways to put rows in as agents do. */
export class HubFixture {
  readonly store: HubStore;
  readonly api: ReturnType<typeof createApi>;
  readonly online = new Set<string>();
  /** A folder for this fixture, gone with `close`. */
  readonly folder: string;
  readonly #tails = new Map<string, { number: number; hash: Uint8Array }>();
  #server: Bun.Server<undefined> | undefined;

  constructor(folder: string, store: HubStore, options: Partial<ApiOptions>) {
    this.folder = folder;
    this.store = store;
    const verify = createTokenVerifier({
      apiToken: (hash) => store.apiToken(hash),
      clock: systemClock(),
      burst: 200,
    });
    this.api = createApi({
      store,
      fleet: {
        connected: (agent) => this.online.has(agent),
        session: (agent) =>
          this.online.has(agent) ? { transport: "grpc", sinceMs: 1_790_000_000_000 } : null,
        status: (row) => (this.online.has(row.id) ? "online" : "offline"),
      },
      createJoinToken: async (uses, ttlMs) => ({
        token: "hfjoin_abc",
        expiresMs: Date.UTC(2026, 10, 21) + ttlMs,
        command: `holdfast agent enroll --hub grpcs://hub:8443 --token hfjoin_abc --uses ${uses}`,
      }),
      rotateReceiptKey: async () => ({ serial: "4f", certificates: 2 }),
      verifyToken: async (token) => {
        return token === VIEWER_TOKEN ? { name: "viewer", role: "viewer" } : await verify(token);
      },
      clock: systemClock(),
      ids: systemIds(),
      version: "9.9.9",
      log: silentLogger(),
      ...options,
    });
  }

  /** The API's address, once `listen` was called. */
  get url(): string {
    if (!this.#server) throw new HoldfastError("failed", "the fixture does not listen yet");
    return `http://127.0.0.1:${this.#server.port}`;
  }

  listen(port = 0): void {
    this.#server = Bun.serve({
      hostname: "127.0.0.1",
      port,
      fetch: (request, server) => this.api.fetch(request, server),
    });
  }

  /** Stops serving, cutting every connection, as a killed hub does; `listen` may follow. */
  async cut(): Promise<void> {
    await this.#server?.stop(true);
    this.#server = undefined;
  }

  async close(): Promise<void> {
    this.api.close();
    await this.cut();
    await this.store.close();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** A request with the administrator's token, without the network. */
  async request(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers({ authorization: `Bearer ${ADMIN_TOKEN}` });
    for (const [name, value] of new Headers(init.headers)) headers.set(name, value);
    return await this.api.fetch(new Request(`http://127.0.0.1${path}`, { ...init, headers }));
  }

  async addAgent(id: string, labels: Record<string, string> = {}, facts: JsonObject = {}): Promise<void> {
    const nowMs = Date.now();
    const tokenHash = new Bun.CryptoHasher("sha256").update(`join-${id}`).digest("hex");
    await this.store.addJoinToken({ hash: tokenHash, expiresMs: nowMs + 60_000, uses: 1, createdMs: nowMs });
    const publicKey = new Bun.CryptoHasher("sha256").update(id).digest("hex");
    const certificate = { certificateSerial: "01ab", certificateExpiresMs: nowMs + 30 * 86_400_000 };
    await this.store.enroll({ tokenHash, nowMs, agent: { id, publicKey, ...certificate, labels } });
    await this.store.hello(id, EPOCH, labels, { version: "9.9.9", ...facts }, nowMs, 0);
  }

  async addEvent(agent: string, event: Partial<CloudEvent> = {}): Promise<CloudEvent> {
    const whole: CloudEvent = {
      specversion: "1.0",
      id: crypto.randomUUID(),
      source: `urn:holdfast:agent:${agent}/t`,
      type: "log.line",
      time: new Date().toISOString(),
      ...event,
    };
    await this.#ingest(agent, LANES.events, [["event", whole]]);
    return whole;
  }

  async putRun(agent: string, run: Partial<RunRecordBody> & { id: string }): Promise<void> {
    const whole: RunRecordBody = {
      pipeline: "react",
      rule: "a rule",
      event: { source: `urn:holdfast:agent:${agent}/t`, id: "e1" },
      state: "running",
      reason: null,
      createdMs: Date.now(),
      startedMs: null,
      endedMs: null,
      steps: [{ id: "note", action: "exec", needs: [], part: "steps", effect: "at-most-once" }],
      ...run,
    };
    await this.#ingest(agent, LANES.results, [["run", whole]]);
  }

  async putStep(agent: string, step: Partial<StepRecordBody> & { run: string; step: string }): Promise<void> {
    const whole: StepRecordBody = {
      action: "exec",
      state: "succeeded",
      attempts: 1,
      key: `${step.run}/${step.step}`,
      startedMs: Date.now() - 1500,
      endedMs: Date.now(),
      output: null,
      error: null,
      reason: null,
      ...step,
    };
    await this.#ingest(agent, LANES.results, [["step", whole]]);
  }

  async #ingest(agent: string, lane: number, rows: [ClassName, unknown][]): Promise<void> {
    const key = `${agent}/${lane}`;
    const tail = this.#tails.get(key) ?? { number: 0, hash: ZERO_HASH };
    const records = rows.map(([name, body], index) => ({
      number: tail.number + 1 + index,
      class: RECORD_CLASSES[name],
      body: new TextEncoder().encode(JSON.stringify(body)),
    }));
    const hash = chainHashes(tail.hash, records).at(-1)!;
    const batch = { epoch: EPOCH, lane, segment: 1, first: tail.number + 1, prevHash: tail.hash };
    this.#tails.set(key, { number: tail.number + rows.length, hash });
    const result = await this.store.ingest(agent, { ...batch, lastHash: hash, records }, Date.now());
    if (result.kind !== "ack")
      throw new HoldfastError("failed", `the store did not take the batch: ${result.kind}`);
  }
}

/** A hub with its own store on disk and one administrator's token. */
export async function hubFixture(options: Partial<ApiOptions> = {}): Promise<HubFixture> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-hub-"));
  const store = await openHubStore({ file: join(folder, "hub.db"), clock: systemClock(), ids: systemIds() });
  const hash = new Bun.CryptoHasher("sha256").update(ADMIN_TOKEN).digest("hex");
  await store.addApiToken({ hash, name: "admin", role: "admin", createdMs: Date.now() });
  return new HubFixture(folder, store, options);
}
