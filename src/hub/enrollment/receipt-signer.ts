import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { MetricFamily } from "../../core/metrics.ts";
import type { StreamCursor, StreamReceipt } from "../../model/record.ts";
import { importReceiptKey, MAX_RECEIPT_CERTIFICATES, signReceipt } from "../../protocol/receipts.ts";
import type { PemPair } from "./certificates.ts";

/** Certificates for receipts, in the order in which they were made; none is ever taken away. */
export interface CertificateStore {
  readonly hubId: string;
  receiptCertificates(): Promise<{ serial: string; certificate: Uint8Array }[]>;
  addReceiptCertificate(row: { serial: string; certificate: Uint8Array; madeMs: number }): Promise<void>;
}

export interface SignerOptions {
  /** In use from now on. */
  pair: PemPair;
  make(): Promise<PemPair>;
  /** Puts a new pair in the place of the one in use. */
  write(pair: PemPair): void;
  store: CertificateStore;
  clock: Clock;
  log: Logger;
}

export interface SignedReceipt {
  receipt: StreamReceipt;
  /** Of the key, DER. */
  certificate: Buffer;
}

interface SigningKey {
  serial: string;
  certificate: Buffer;
  key: CryptoKey;
}

/** Signs what the hub has committed. Every certificate that it ever had stays, so that old receipts can be checked. */
export class ReceiptSigner {
  readonly #options: SignerOptions;
  #current: SigningKey;
  #older: Buffer[] = [];
  #rotating: Promise<unknown> = Promise.resolve();
  #signed = 0;

  private constructor(options: SignerOptions, current: SigningKey) {
    this.#options = options;
    this.#current = current;
  }

  static async open(options: SignerOptions): Promise<ReceiptSigner> {
    const signer = new ReceiptSigner(options, await signingKey(options.pair));
    await signer.#take(signer.#current);
    return signer;
  }

  /** DER; the one in use last. */
  certificates(): Buffer[] {
    return [...this.#older, this.#current.certificate];
  }

  /** Says, now, that all rows of the agent's stream up to the cursor are committed. */
  async sign(agent: string, cursor: StreamCursor): Promise<SignedReceipt> {
    const { store, clock } = this.#options;
    const { serial, certificate, key } = this.#current;
    const atMs = clock.trusted();
    const signature = await signReceipt(store.hubId, agent, cursor, atMs, key);
    this.#signed++;
    return { receipt: { hub: store.hubId, key: serial, atMs, signature }, certificate };
  }

  /** A new key from now on, in open sessions too. Resolves with its certificate's serial. */
  rotate(): Promise<{ serial: string; certificates: number }> {
    const turn = this.#rotating.then(() => this.#rotate());
    this.#rotating = turn.catch(() => {});
    return turn;
  }

  metrics(): MetricFamily[] {
    return [
      {
        name: "holdfast_hub_receipts_signed_total",
        help: "Receipts signed for what was committed; one may stand for several batches",
        type: "counter",
        values: [{ value: this.#signed }],
      },
    ];
  }

  async #rotate(): Promise<{ serial: string; certificates: number }> {
    if (this.#older.length + 1 >= MAX_RECEIPT_CERTIFICATES) {
      throw new HoldfastError(
        "exhausted",
        `This hub has had ${MAX_RECEIPT_CERTIFICATES} keys for receipts, which is as many as agents take: make a new hub`,
      );
    }
    const pair = await this.#options.make();
    const next = await signingKey(pair);
    await this.#take(next);
    this.#options.write(pair);
    this.#current = next;
    this.#options.log.info("receipts are signed with a new key", { serial: next.serial });
    return { serial: next.serial, certificates: this.#older.length + 1 };
  }

  /** Durable before the first receipt is signed with it. */
  async #take({ serial, certificate }: SigningKey): Promise<void> {
    const { store, clock } = this.#options;
    await store.addReceiptCertificate({ serial, certificate, madeMs: clock.trusted() });
    const all = await store.receiptCertificates();
    this.#older = all.filter((row) => row.serial !== serial).map((row) => Buffer.from(row.certificate));
  }
}

async function signingKey(pair: PemPair): Promise<SigningKey> {
  const certificate = new X509Certificate(pair.certificate);
  return {
    serial: certificate.serialNumber.toLowerCase(),
    certificate: Buffer.from(certificate.raw),
    key: await importReceiptKey(createPrivateKey(pair.key).export({ type: "pkcs8", format: "der" })),
  };
}
