import type { JsonObject } from "../../model/json.ts";

/**
 * What the API needs of the hub, as narrow ports: the store satisfies `ApiStore` structurally, and hub.ts hands it in.
 * Times are Unix milliseconds.
 */
export interface ApiAgent {
  id: string;
  publicKey: string;
  certificateSerial: string;
  certificateExpiresMs: number;
  enrolledMs: number;
  labels: Record<string, string>;
  facts: JsonObject;
  epoch: string | null;
  lastHelloMs: number | null;
  lastHeartbeatMs: number | null;
  clockOffsetMs: number | null;
  status: JsonObject;
}

export interface ApiStreamCursor {
  epoch: string;
  lane: number;
  segment: number;
  number: number;
  hash: Uint8Array;
  forked: number;
}

export interface ApiLoss {
  epoch: string;
  lane: number;
  segment: number;
  first: number;
  last: number;
  /** By the class's number. */
  counts: Record<string, number>;
  reason: string;
  atMs: number;
  receivedMs: number;
}

export interface ApiEvent {
  n: number;
  agent: string;
  source: string;
  id: string;
  type: string;
  subject: string | null;
  severity: string | null;
  time: string;
  receivedMs: number;
  event: JsonObject;
}

export interface ApiRun {
  n: number;
  agent: string;
  id: string;
  pipeline: string;
  rule: string | null;
  state: string;
  reason: string | null;
  event: { source: string; id: string } | null;
  createdMs: number;
  startedMs: number | null;
  endedMs: number | null;
  /** Null for a run that an agent of the first versions told of. */
  starter: { kind: string; by: string } | null;
  parent: { run: string; step: string } | null;
  retryOf: string | null;
}

export interface ApiStep {
  step: string;
  position: number;
  part: string;
  action: string;
  effect: string;
  needs: string[];
  state: string;
  attempts: number;
  key: string;
  startedMs: number | null;
  endedMs: number | null;
  output: unknown;
  error: unknown;
  reason: string | null;
  /** While it is `waiting`: what for. */
  waits: string | null;
  /** Run that a step of the kind `pipeline` began. */
  child: string | null;
  /** Of a step that the pipeline does not declare: an item, an added one, an undo. */
  origin: { foreach?: { step: string; index: number }; addedBy?: string; undoes?: string } | null;
}

export interface EventQuery {
  agent?: string;
  type?: string;
  source?: string;
  severity?: string;
  before?: number;
  after?: number;
  limit: number;
}

export interface RunQuery {
  agent?: string;
  pipeline?: string;
  state?: string;
  before?: string;
  limit: number;
}

export interface ApiStore {
  agents(): Promise<ApiAgent[]>;
  agent(id: string): Promise<ApiAgent | null>;
  agentStreams(id: string): Promise<ApiStreamCursor[]>;
  /** The newest first. */
  agentLosses(id: string): Promise<ApiLoss[]>;
  lostRows(agent: string): Promise<number>;
  /** Newest first, or oldest first when `after` is given. */
  events(query: EventQuery): Promise<ApiEvent[]>;
  /** Ordered by (id, agent), descending; `before` is `<id>/<agent>`. */
  runs(query: RunQuery): Promise<ApiRun[]>;
  runsChangedAfter(n: number, limit: number): Promise<ApiRun[]>;
  run(agent: string | undefined, id: string): Promise<{ run: ApiRun; steps: ApiStep[] } | null>;
  /** Runs whose id begins or ends with `part`. */
  runsMatching(agent: string | undefined, part: string, limit: number): Promise<ApiRun[]>;
  heads(): Promise<{ event: number; run: number }>;
  counts(): Promise<{ agents: number; events: number; runs: number; records: number }>;
  onChange(listener: () => void): () => void;
}

/** What the API needs to know of the fleet besides the store. */
export interface FleetPort {
  connected(agent: string): boolean;
  /** The session it has now. */
  session(agent: string): { transport: string; sinceMs: number } | null;
  status(row: ApiAgent): "online" | "late" | "offline";
}
