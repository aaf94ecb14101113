import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { MetricFamily } from "../../core/metrics.ts";
import type { JsonObject } from "../../model/json.ts";
import type { StreamCursor } from "../../model/record.ts";
import { HUB_CAPABILITIES } from "../../protocol/capabilities.ts";
import type { Heartbeat, Hello, Welcome } from "../../protocol/gen/holdfast/v1/sync.ts";
import { PROTOCOL_VERSION } from "../../protocol/transport.ts";

export type AgentStatus = "online" | "late" | "offline";

/** What the fleet asks of the store. */
export interface FleetStore {
  readonly hubId: string;
  readonly epoch: string;
  hello(
    agent: string,
    epoch: string,
    labels: Record<string, string>,
    facts: JsonObject,
    nowMs: number,
    clockOffsetMs: number,
  ): Promise<StreamCursor[]>;
  heartbeat(agent: string, status: JsonObject, nowMs: number, clockOffsetMs: number): Promise<void>;
}

export interface FleetOptions {
  store: FleetStore;
  clock: Clock;
  log: Logger;
  /** How often agents send heartbeats; three missed ones make an agent late. */
  heartbeatMs?: number;
  /** Of each agent, at most; none when left out. */
  backlogBytesPerSecond?: number;
}

interface Presence {
  /** By the monotonic clock: a jump of the wall clock makes nobody late. */
  heardMono: number;
  session: AgentSession | null;
}

/** The session that an agent has now. */
export interface AgentSession {
  /** grpc, mqtt */
  transport: string;
  /** Unix milliseconds by the hub's clock. */
  sinceMs: number;
}

const HEARTBEAT_MS = 30_000;
const CLOCK_TOLERANCE_MS = 5 * 60_000;
/** Keeps the difference of two clocks, one of them from outside, a number that every database holds. */
const MAX_OFFSET_MS = 1e15;

/** Who is connected, and what agents say about themselves. */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #present = new Map<string, Presence>();
  readonly #counts = { hellos: 0, heartbeats: 0 };

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  /** The agent has proved its id. Throws `unauthenticated` when this hub does not know it. */
  async hello(agent: string, hello: Hello): Promise<Welcome> {
    const { store, clock } = this.#options;
    const facts = parseObject(hello.facts, "the host facts in hello");
    const offsetMs = this.#offset(hello.wallMs);
    const cursors = await store.hello(agent, hello.epoch, hello.labels, facts, clock.trusted(), offsetMs);
    this.#heard(agent);
    this.#counts.hellos++;
    if (Math.abs(offsetMs) > CLOCK_TOLERANCE_MS) {
      this.#options.log.warn("an agent's clock is far from the hub's", { agent, offsetMs });
    }
    return {
      protocol: PROTOCOL_VERSION,
      capabilities: [...HUB_CAPABILITIES],
      hubId: store.hubId,
      epoch: store.epoch,
      wallMs: BigInt(clock.wall()),
      cursors: cursors.map((cursor) => ({
        ...cursor,
        number: BigInt(cursor.number),
        hash: Buffer.from(cursor.hash),
      })),
      receiptCertificates: [],
      backlogBytesPerSecond: BigInt(this.#options.backlogBytesPerSecond ?? 0),
    };
  }

  async heartbeat(agent: string, heartbeat: Heartbeat): Promise<void> {
    const { store, clock } = this.#options;
    const status = parseObject(heartbeat.status, "the status in a heartbeat");
    this.#heard(agent);
    this.#counts.heartbeats++;
    await store.heartbeat(agent, status, clock.trusted(), this.#offset(heartbeat.wallMs));
  }

  /** The agent has a new session. */
  opened(agent: string, transport: string): void {
    this.#heard(agent);
    this.#present.get(agent)!.session = { transport, sinceMs: this.#options.clock.wall() };
  }

  /** What carries the agent's session and since when; null without one. */
  session(agent: string): AgentSession | null {
    return this.#present.get(agent)?.session ?? null;
  }

  /** The agent's session is over. */
  closed(agent: string): void {
    this.#present.delete(agent);
  }

  connected(agent: string): boolean {
    return this.#present.has(agent);
  }

  get size(): number {
    return this.#present.size;
  }

  /** `late`: a session is open, but nothing was heard for three heartbeats. */
  status({ id }: { id: string }): AgentStatus {
    const presence = this.#present.get(id);
    if (!presence) return "offline";
    const silentMs = this.#options.clock.mono() - presence.heardMono;
    return silentMs <= 3 * (this.#options.heartbeatMs ?? HEARTBEAT_MS) ? "online" : "late";
  }

  metrics(): MetricFamily[] {
    const statuses = [...this.#present.keys()].map((id) => this.status({ id }));
    const late = statuses.filter((status) => status === "late").length;
    return [
      {
        name: "holdfast_hub_sessions",
        help: "Open sessions of agents, by whether their heartbeats come in time",
        type: "gauge",
        values: [
          { labels: { status: "online" }, value: statuses.length - late },
          { labels: { status: "late" }, value: late },
        ],
      },
      {
        name: "holdfast_hub_sessions_by_transport",
        help: "Open sessions of agents, by what carries them",
        type: "gauge",
        values: ["grpc", "mqtt"].map((transport) => ({
          labels: { transport },
          value: [...this.#present.values()].filter(({ session }) => session?.transport === transport).length,
        })),
      },
      {
        name: "holdfast_hub_hellos_total",
        help: "Sessions that agents have opened",
        type: "counter",
        values: [{ value: this.#counts.hellos }],
      },
      {
        name: "holdfast_hub_heartbeats_total",
        help: "Heartbeats received",
        type: "counter",
        values: [{ value: this.#counts.heartbeats }],
      },
    ];
  }

  #heard(agent: string): void {
    const session = this.#present.get(agent)?.session ?? null;
    this.#present.set(agent, { heardMono: this.#options.clock.mono(), session });
  }

  #offset(wallMs: bigint): number {
    const offset = this.#options.clock.wall() - Number(wallMs);
    return Math.max(-MAX_OFFSET_MS, Math.min(MAX_OFFSET_MS, offset));
  }
}

function parseObject(text: string, what: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text === "" ? "{}" : text);
  } catch {
    value = undefined;
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw new HoldfastError("invalid", `${what} must be a JSON object`);
}
