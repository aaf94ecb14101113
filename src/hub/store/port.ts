import type { JsonObject } from "../../model/json.ts";
import type { RecordBatch, StreamCursor } from "../../model/record.ts";
import type { LossView } from "./losses.ts";

export interface AgentRow {
  id: string;
  /** Hex SHA-256 of the public key (SPKI) that the agent enrolled with. */
  publicKey: string;
  certificateSerial: string;
  certificateExpiresMs: number;
  enrolledMs: number;
  labels: Record<string, string>;
  facts: JsonObject;
  epoch: string | null;
  lastHelloMs: number | null;
  lastHeartbeatMs: number | null;
  /** Hub's clock minus agent's clock when last heard. */
  clockOffsetMs: number | null;
  status: JsonObject;
}

export interface EventView {
  /** Place in the hub's order of arrival; cursor of lists and of live streams. */
  n: number;
  agent: string;
  source: string;
  id: string;
  type: string;
  subject: string | null;
  severity: string | null;
  time: string;
  receivedMs: number;
  /** The CloudEvent as the agent recorded it. */
  event: JsonObject;
}

export interface RunView {
  /** Place in the hub's order of changes: raised each time the run changes; cursor of live streams. */
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

export interface StepView {
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

/** What ingest made of a batch. */
export type IngestResult =
  /**
   * Committed (or a true duplicate): acknowledge up to here. The last `added` rows of the batch are new; of those,
   * `unreadable` have a body that lists cannot show (kept all the same).
   */
  | { kind: "ack"; cursor: StreamCursor; added?: number; unreadable?: number }
  /** The batch begins after a number that is not here: send from `cursor` on. */
  | { kind: "gap"; cursor: StreamCursor }
  /** Same number, other hash: both kept, nothing overwritten. */
  | { kind: "fork"; cursor: StreamCursor; message: string };

export interface EventFilter {
  agent?: string;
  type?: string;
  source?: string;
  severity?: string;
  /** Events with n below (newest first) or above (oldest first) this. */
  before?: number;
  after?: number;
  limit: number;
}

export interface RunFilter {
  agent?: string;
  pipeline?: string;
  state?: string;
  /**
   * Cursor of a list: `<run id>/<agent>` of the last run of the page before. Lists are ordered by (run id, agent)
   * descending; run ids are UUIDv7, so that is creation order, newest first.
   */
  before?: string;
  limit: number;
}

export type TokenUse = "ok" | "unknown" | "expired" | "used";

/** The hub's durable state. One writer queue; every method that changes something resolves after its commit. */
export interface HubStore {
  readonly epoch: string;
  readonly hubId: string;

  addJoinToken(token: { hash: string; expiresMs: number; uses: number; createdMs: number }): Promise<void>;
  /**
   * Uses up one use of the token and enrolls the agent, in one transaction. An id that is enrolled with the same public
   * key is enrolled again whatever the token's state, so that a lost answer can be asked for once more.
   */
  enroll(request: {
    tokenHash: string;
    nowMs: number;
    agent: Pick<AgentRow, "id" | "publicKey" | "certificateSerial" | "certificateExpiresMs" | "labels">;
  }): Promise<TokenUse | "taken">;

  /** Of every key that has signed receipts here, in the order in which they were made. */
  receiptCertificates(): Promise<{ serial: string; certificate: Uint8Array; madeMs: number }[]>;
  addReceiptCertificate(row: { serial: string; certificate: Uint8Array; madeMs: number }): Promise<void>;

  addApiToken(token: { hash: string; name: string; role: "admin"; createdMs: number }): Promise<void>;
  apiToken(hash: string): Promise<{ name: string; role: string } | null>;

  hello(
    agent: string,
    epoch: string,
    labels: Record<string, string>,
    facts: JsonObject,
    nowMs: number,
    clockOffsetMs: number,
  ): Promise<StreamCursor[]>;
  heartbeat(agent: string, status: JsonObject, nowMs: number, clockOffsetMs: number): Promise<void>;
  /**
   * Checks the chain, commits rows and what lists show of them, in one transaction shared with other agents' batches.
   * `publicKey` is that of the certificate of the agent's session, kept with loss records for whoever verifies them later.
   */
  ingest(agent: string, batch: RecordBatch, nowMs: number, publicKey?: Uint8Array): Promise<IngestResult>;

  agents(): Promise<AgentRow[]>;
  agent(id: string): Promise<AgentRow | null>;
  /** Streams of an agent as the hub holds them, with the number of forked rows that were set aside. */
  agentStreams(id: string): Promise<(StreamCursor & { forked: number })[]>;
  /** The newest first, at most 1,000. */
  agentLosses(id: string): Promise<LossView[]>;
  /** Rows of the agent that loss records stand for; one that was carried into a new epoch counts once. */
  lostRows(agent: string): Promise<number>;
  events(filter: EventFilter): Promise<EventView[]>;
  runs(filter: RunFilter): Promise<RunView[]>;
  /** Runs changed after `n`, oldest change first. */
  runsChangedAfter(n: number, limit: number): Promise<RunView[]>;
  run(agent: string | undefined, id: string): Promise<{ run: RunView; steps: StepView[] } | null>;
  /**
   * Runs whose id begins or ends with `part` (4 to 36 characters of `0-9a-f-`, so no LIKE wildcards), at most `limit`,
   * in the order of `runs`. Lets people type the last characters of an id.
   */
  runsMatching(agent: string | undefined, part: string, limit: number): Promise<RunView[]>;
  /** Highest `n` of events and runs. */
  heads(): Promise<{ event: number; run: number }>;
  counts(): Promise<{ agents: number; events: number; runs: number; records: number }>;

  /** Called after each commit that changed events or runs. */
  onChange(listener: () => void): () => void;
  close(): Promise<void>;
}
