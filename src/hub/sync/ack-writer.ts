import type { StreamCursor } from "../../model/record.ts";
import type { HubFrame } from "../../protocol/gen/holdfast/v1/sync.ts";
import { ackFrame } from "../../protocol/transport-frames.ts";
import type { SyncSessions } from "./sessions.ts";

export interface AckWriterOptions {
  agentId: string;
  /** Undefined when the agent knows nothing of receipts. */
  receipt: SyncSessions["receipt"] | undefined;
  /** Certificates that the session's welcome has named, DER. */
  certificates: Uint8Array[];
  send(frame: HubFrame): Promise<void>;
}

/**
 * Acknowledges what is committed, each ack with a receipt where the agent takes one. While one receipt of a stream is being
 * signed and sent, only its newest cursor waits: acks are cumulative.
 */
export class AckWriter {
  readonly #options: AckWriterOptions;
  readonly #waiting = new Map<string, StreamCursor>();
  readonly #working = new Map<string, Promise<void>>();
  /** The certificate of the last receipt. */
  #last: Uint8Array | undefined;

  constructor(options: AckWriterOptions) {
    this.#options = options;
  }

  /** Resolves when this cursor, or a later one of its stream, has been handed to the transport. */
  take(cursor: StreamCursor): Promise<void> {
    if (this.#options.receipt === undefined) return this.#options.send(ackFrame(cursor));
    const key = `${cursor.epoch}/${cursor.lane}/${cursor.segment}`;
    this.#waiting.set(key, cursor);
    const known = this.#working.get(key);
    if (known) return known;
    const work = this.#work(key);
    this.#working.set(key, work);
    return work;
  }

  async #work(key: string): Promise<void> {
    try {
      for (let cursor = this.#waiting.get(key); cursor; cursor = this.#waiting.get(key)) {
        this.#waiting.delete(key);
        await this.#send(cursor);
      }
    } finally {
      // In the same turn in which nothing was found to wait: what comes after it begins anew.
      this.#working.delete(key);
    }
  }

  async #send(cursor: StreamCursor): Promise<void> {
    const { agentId, receipt: sign, send } = this.#options;
    const { receipt, certificate } = await sign!(agentId, cursor);
    // A key that is newer than the session brings its certificate along, once.
    const fresh = certificate !== this.#last && !this.#named(certificate);
    this.#last = certificate;
    await send(ackFrame(cursor, receipt, fresh ? certificate : undefined));
  }

  #named(certificate: Uint8Array): boolean {
    return this.#options.certificates.some((each) => Buffer.compare(each, certificate) === 0);
  }
}
