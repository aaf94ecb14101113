import { HoldfastError } from "../core/errors.ts";
import type { IngestResult, SyncSessions } from "../hub/sync/sessions.ts";
import type { RecordBatch, StreamCursor } from "../model/record.ts";
import { ZERO_HASH } from "../model/record.ts";
import { chainHashes, sameHash } from "../protocol/chain.ts";
import type { Heartbeat, Hello } from "../protocol/gen/holdfast/v1/sync.ts";
import { wireCursor } from "../protocol/transport-frames.ts";
import type { TestCa } from "./test-ca.ts";

export interface HeldStream {
  epoch: string;
  lane: number;
  segment: number;
  bodies: string[];
  /** Hash of each row. */
  hashes: Uint8Array[];
}

/** A hub in memory behind the sync server: keeps rows as the real one does, checks the chain, and remembers calls. */
export class MemorySessions implements SyncSessions {
  readonly hubId = "hub-under-test";
  readonly streams = new Map<string, HeldStream>();
  readonly hellos: Hello[] = [];
  readonly heartbeats: Heartbeat[] = [];
  readonly batches: RecordBatch[] = [];
  readonly left: string[] = [];
  /** Of each session in turn. */
  readonly transports: string[] = [];
  /** Row numbers that came again, and were true duplicates. */
  duplicates = 0;
  wallMs: () => number = () => Date.now();
  capabilities: string[] = [];
  ca: TestCa | undefined;
  tokens = new Map<string, "ok" | "expired" | "used">();
  revoked = new Set<string>();
  /** Tests put something here to delay or fail ingest. */
  beforeIngest: (batch: RecordBatch) => Promise<void> | undefined = () => undefined;
  onAccept: () => void = () => {};

  async enroll(request: Parameters<SyncSessions["enroll"]>[0]) {
    const token = this.tokens.get(request.token);
    if (token !== "ok") {
      throw new HoldfastError(
        "unauthenticated",
        `the join token is ${token ?? "unknown"}: make a new one on the hub`,
      );
    }
    const certificate = await this.ca!.sign(request.csr, request.agentId);
    return { certificate, caCertificate: this.ca!.der, hubId: this.hubId, wallMs: BigInt(this.wallMs()) };
  }

  async hello(agentId: string, hello: Hello, _serial: string) {
    if (this.revoked.has(agentId)) throw new HoldfastError("unauthenticated", `agent ${agentId} was revoked`);
    this.hellos.push(hello);
    return {
      protocol: 1,
      capabilities: this.capabilities,
      hubId: this.hubId,
      epoch: "hub-epoch",
      wallMs: BigInt(this.wallMs()),
      cursors: [...this.streams.values()]
        .filter(({ epoch }) => epoch === hello.epoch)
        .map((stream) => wireCursor(cursorAt(stream, stream.bodies.length))),
      receiptCertificates: [],
      backlogBytesPerSecond: 0n,
    };
  }

  async heartbeat(_agentId: string, heartbeat: Heartbeat): Promise<void> {
    this.heartbeats.push(heartbeat);
    if (this.heartbeats.length > 1000) this.heartbeats.shift();
  }

  async records(_agentId: string, batch: RecordBatch): Promise<IngestResult> {
    const waited = this.beforeIngest(batch);
    if (waited) await waited;
    this.batches.push(batch);
    const result = this.#ingest(batch);
    this.onAccept();
    return result;
  }

  /** The welcome has promised none. */
  async receipt(): Promise<never> {
    throw new HoldfastError("failed", "this hub signs no receipts");
  }

  opened(_agentId: string, transport: string): void {
    this.transports.push(transport);
  }

  closed(agentId: string): void {
    this.left.push(agentId);
  }

  /** All rows of a lane over epochs, in the order of arrival. */
  bodies(lane: number): string[] {
    return [...this.streams.values()]
      .filter((stream) => stream.lane === lane)
      .flatMap((stream) => stream.bodies);
  }

  #ingest(batch: RecordBatch): IngestResult {
    const key = `${batch.epoch}/${batch.lane}/${batch.segment}`;
    const held = this.streams.get(key) ?? { ...batch, bodies: [], hashes: [] };
    const count = held.bodies.length;
    if (batch.first > count + 1) return { kind: "gap", cursor: cursorAt(held, count) };
    const hashes = chainHashes(batch.prevHash, batch.records);
    const last = hashes.at(-1)!;
    if (!sameHash(last, batch.lastHash))
      throw new HoldfastError("invalid", "the batch's own chain is broken");
    const overlap = Math.min(count - batch.first + 1, hashes.length);
    const forked =
      !sameHash(batch.prevHash, hashAt(held, batch.first - 1)) ||
      hashes.slice(0, overlap).some((hash, index) => !sameHash(hash, held.hashes[batch.first - 1 + index]!));
    if (forked) return { kind: "fork", cursor: cursorAt(held, count), message: "same number, other hash" };
    this.duplicates += overlap;
    for (const [index, record] of batch.records.entries()) {
      if (index < overlap) continue;
      held.bodies.push(Buffer.from(record.body).toString());
      held.hashes.push(hashes[index]!);
    }
    this.streams.set(key, held);
    return { kind: "ack", cursor: cursorAt(held, held.bodies.length) };
  }
}

function cursorAt(stream: HeldStream, number: number): StreamCursor {
  const { epoch, lane, segment } = stream;
  return { epoch, lane, segment, number, hash: hashAt(stream, number) };
}

function hashAt(stream: HeldStream, number: number): Uint8Array {
  return number === 0 ? ZERO_HASH : stream.hashes[number - 1]!;
}
