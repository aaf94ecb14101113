import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { KeptReceipt, StreamCursor, StreamReceipt } from "../../model/record.ts";
import type { Receipt } from "../../protocol/gen/holdfast/v1/sync.ts";
import {
  MAX_RECEIPT_CERTIFICATES,
  type ReceiptCertificate,
  receiptCertificate,
  receiptHolds,
} from "../../protocol/receipts.ts";
import { receiptOf } from "../../protocol/transport-frames.ts";
import { certificatesOf } from "../../protocol/transport-tls.ts";
import type { ReceiptStore } from "./ports.ts";

export interface ReceiptBookOptions {
  /** Id of the agent, which every receipt names. */
  agent: string;
  store: ReceiptStore;
  /** PEM: the CA that this agent trusts. Read at each session, as for the connection itself. */
  authority: () => Promise<string>;
  log: Logger;
}

/** Rows of one stream that the hub has signed to hold, and holds no more. */
export interface HubLoss extends KeptReceipt {
  /** Last number that the hub has now. */
  held: number;
}

/** Checks what the hub signs before an ack counts, and keeps the newest receipt of each stream. */
export class ReceiptBook {
  readonly counts = { verified: 0, wrong: 0 };
  readonly #options: ReceiptBookOptions;
  readonly #newest = new Map<string, KeptReceipt>();
  readonly #keys = new Map<string, CryptoKey>();
  #loaded: Promise<void> | undefined;
  #hub = "";

  constructor(options: ReceiptBookOptions) {
    this.#options = options;
  }

  /** Takes up what is in the store; later calls wait for the first. */
  load(): Promise<void> {
    return (this.#loaded ??= this.#load());
  }

  /**
   * A session with this hub begins: receipts are taken by these keys, and no others. `signs`: whether it says that it
   * signs what it acknowledges.
   */
  async begin(hub: string, certificates: Uint8Array[], signs: boolean): Promise<void> {
    await this.load();
    this.#hub = hub;
    if (!signs && [...this.#newest.values()].some(({ receipt }) => receipt.hub === hub)) {
      this.#options.log.warn(
        "this hub has signed what it acknowledged, and does so no more: is it an older version?",
        {
          hub,
        },
      );
    }
    this.#keys.clear();
    const taken: ReceiptCertificate[] = [];
    const authorities = certificatesOf(await this.#options.authority());
    // The one in use is the last: of too many the oldest are left out.
    for (const der of certificates.slice(-MAX_RECEIPT_CERTIFICATES)) {
      try {
        taken.push(await receiptCertificate(der, authorities));
      } catch (error) {
        this.#options.log.warn(`the hub shows ${messageOf(error)}`, { hub });
      }
    }
    await this.#keep(taken);
  }

  /** The ack's receipt, if it is the hub's signature of exactly this cursor. Throws `invalid`, counted, when it is not. */
  async check(cursor: StreamCursor, receipt: Receipt | undefined): Promise<StreamReceipt> {
    try {
      const checked = await this.#check(cursor, receipt);
      this.counts.verified++;
      return checked;
    } catch (error) {
      this.counts.wrong++;
      throw error;
    }
  }

  /** What the store has of this epoch and is told to be gone at the hub, by the cursors of its welcome. */
  lostBy(hub: string, epoch: string, cursors: StreamCursor[]): HubLoss[] {
    const losses: HubLoss[] = [];
    for (const kept of this.#newest.values()) {
      if (kept.receipt.hub !== hub || kept.cursor.epoch !== epoch) continue;
      const { lane, segment, number } = kept.cursor;
      const cursor = cursors.find(
        (each) => each.epoch === epoch && each.lane === lane && each.segment === segment,
      );
      const held = cursor?.number ?? 0;
      if (held < number) losses.push({ ...kept, held });
    }
    return losses;
  }

  /** False once the hub has signed for as much again. */
  isNewest({ receipt }: KeptReceipt): boolean {
    return [...this.#newest.values()].some((kept) => kept.receipt === receipt);
  }

  /** The newest receipt of each stream of this epoch, by the hub of the session, if there has been one. */
  newest(epoch: string): KeptReceipt[] {
    return [...this.#newest.values()].filter(
      ({ cursor, receipt }) => cursor.epoch === epoch && (this.#hub === "" || receipt.hub === this.#hub),
    );
  }

  async #load(): Promise<void> {
    for (const kept of await this.#options.store.receipts()) this.#put(kept);
  }

  async #check(cursor: StreamCursor, receipt: Receipt | undefined): Promise<StreamReceipt> {
    const where = `lane ${cursor.lane}, segment ${cursor.segment}, up to number ${cursor.number}`;
    if (receipt === undefined) {
      throw wrong(`the hub acknowledged rows without the receipt that it had promised (${where})`);
    }
    const given = receiptOf(receipt, this.#hub);
    const key = this.#keys.get(given.key) ?? (await this.#newKey(given.key, receipt.certificate));
    if (key === undefined) {
      throw wrong(
        `a receipt of the hub is signed with key ${given.key}, for which it has shown no certificate of its CA (${where})`,
      );
    }
    if (!(await receiptHolds(this.#options.agent, cursor, given, key))) {
      throw wrong(`a receipt of the hub is not its signature of what it acknowledges (${where})`);
    }
    this.#put({ cursor, receipt: given });
    return given;
  }

  /** A key that is newer than the session comes with its certificate. */
  async #newKey(serial: string, der: Uint8Array): Promise<CryptoKey | undefined> {
    if (der.length === 0 || this.#keys.size >= MAX_RECEIPT_CERTIFICATES) return undefined;
    const certificate = await receiptCertificate(der, certificatesOf(await this.#options.authority()));
    await this.#keep([certificate]);
    return this.#keys.get(serial);
  }

  async #keep(certificates: ReceiptCertificate[]): Promise<void> {
    const { store, log } = this.#options;
    const hub = this.#hub;
    for (const { serial, key } of certificates) this.#keys.set(serial, key);
    const rows = certificates.map(({ serial, der: certificate, authority }) => {
      return { hub, serial, certificate, authority };
    });
    if (rows.length === 0) return;
    // They come again with the next session; an ack that cannot be kept either is let go.
    await store.keepReceiptCertificates(rows).catch((error: unknown) => {
      log.warn(`certificates for receipts were not kept: ${messageOf(error)}`, { hub });
    });
  }

  #put(kept: KeptReceipt): void {
    const { epoch, lane, segment, number } = kept.cursor;
    const key = `${kept.receipt.hub}/${epoch}/${lane}/${segment}`;
    if ((this.#newest.get(key)?.cursor.number ?? 0) <= number) this.#newest.set(key, kept);
  }
}

function wrong(why: string): HoldfastError {
  return new HoldfastError("invalid", `${why}; nothing of it was counted, and the rows stay here`);
}
