import type { RecordBatch, StreamCursor, StreamReceipt } from "../../model/record.ts";
import type {
  EnrollRequest,
  EnrollResponse,
  Heartbeat,
  Hello,
  Welcome,
} from "../../protocol/gen/holdfast/v1/sync.ts";

/** What ingest made of a batch (as in the hub's store port). */
export type IngestResult =
  | { kind: "ack"; cursor: StreamCursor }
  | { kind: "gap"; cursor: StreamCursor }
  | { kind: "fork"; cursor: StreamCursor; message: string };

/** What the sync server asks of the rest of the hub. Errors are HoldfastErrors; their messages are told to the agent. */
export interface SyncSessions {
  enroll(request: EnrollRequest, peer: string): Promise<EnrollResponse>;
  /** The agent has proved its id with a certificate of our CA; `certificateSerial` is lower-case hex. */
  hello(agentId: string, hello: Hello, certificateSerial: string): Promise<Welcome>;
  heartbeat(agentId: string, heartbeat: Heartbeat): Promise<void>;
  /**
   * Called in the order of arrival, with up to 16 batches of one agent at once: batches must be committed in the order
   * of the calls, and may share a commit. `publicKey` is that of the session's certificate (SPKI, DER): loss records are
   * signed with it.
   */
  records(agentId: string, batch: RecordBatch, publicKey: Uint8Array): Promise<IngestResult>;
  /** Signs that the agent's stream is committed up to the cursor; with the certificate of the key, DER. */
  receipt(
    agentId: string,
    cursor: StreamCursor,
  ): Promise<{ receipt: StreamReceipt; certificate: Uint8Array }>;
  /** The agent has a new current session; `transport` is what carries it. */
  opened(agentId: string, transport: string): void;
  /** The agent's current session is over (not called for one that was replaced by a newer). */
  closed(agentId: string): void;
}
