import type { Database } from "bun:sqlite";
import type { WriteGate } from "../../storage/write-gate.ts";

/** Streams whose newest receipt is kept, the newest streams. */
export const MAX_RECEIPTS = 1000;
/** Certificates that are kept beside those that a kept receipt names, the newest. */
export const MAX_CERTIFICATES = 1000;

/** A receipt as it crosses to the storage thread; bytes are hex. */
export interface PackedReceipt {
  hub: string;
  epoch: string;
  lane: number;
  segment: number;
  number: number;
  hash: string;
  key: string;
  atMs: number;
  signature: string;
}

/** A certificate for receipts as it crosses to the storage thread; DER as hex. */
export interface PackedCertificate {
  hub: string;
  serial: string;
  certificate: string;
  authority: string;
}

interface ReceiptRow {
  hub: string;
  epoch: string;
  lane: number;
  segment: number;
  number: number;
  hash: Uint8Array;
  key: string;
  at_ms: number;
  signature: Uint8Array;
}

interface CertificateRow {
  hub: string;
  serial: string;
  certificate: Uint8Array;
  authority: Uint8Array;
}

/** What hubs have signed to hold: the proof, should one come back with less. */
export class ReceiptRows {
  readonly #database: Database;
  readonly #put;
  readonly #trim;
  readonly #putCertificate;
  readonly #trimCertificates;

  constructor(database: Database, gate: WriteGate) {
    this.#database = database;
    const prepare = (label: string, sql: string) => gate.prepare(database, label, sql);
    // A receipt never gives way to one of fewer rows: a hub that was set back would take the proof with it.
    this.#put = prepare(
      "receipts.put",
      `INSERT INTO receipts (hub, epoch, lane, segment, number, hash, key, at_ms, signature)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (hub, epoch, lane, segment) DO UPDATE SET number = excluded.number, hash = excluded.hash,
          key = excluded.key, at_ms = excluded.at_ms, signature = excluded.signature
        WHERE excluded.number >= number`,
    );
    this.#trim = prepare(
      "receipts.trim",
      "DELETE FROM receipts WHERE n IN (SELECT n FROM receipts ORDER BY n DESC LIMIT -1 OFFSET ?)",
    );
    this.#putCertificate = prepare(
      "receipts.certificate",
      `INSERT INTO receipt_certificates (hub, serial, certificate, authority) VALUES (?, ?, ?, ?)
        ON CONFLICT (hub, serial) DO NOTHING`,
    );
    this.#trimCertificates = prepare(
      "receipts.trim-certificates",
      `DELETE FROM receipt_certificates WHERE n IN (SELECT n FROM receipt_certificates ORDER BY n DESC LIMIT -1 OFFSET ?)
        AND NOT EXISTS (SELECT 1 FROM receipts WHERE receipts.hub = receipt_certificates.hub AND key = serial)`,
    );
  }

  put(receipt: PackedReceipt, keep = MAX_RECEIPTS): void {
    const { hub, epoch, lane, segment, number, hash, key, atMs, signature } = receipt;
    const known = this.#database
      .query("SELECT 1 FROM receipts WHERE hub = ? AND epoch = ? AND lane = ? AND segment = ?")
      .get(hub, epoch, lane, segment);
    const bytes = (hex: string) => Buffer.from(hex, "hex");
    this.#put(hub, epoch, lane, segment, number, bytes(hash), key, atMs, bytes(signature));
    if (known === null) this.#trim(keep);
  }

  putCertificates(certificates: PackedCertificate[], keep = MAX_CERTIFICATES): void {
    for (const { hub, serial, certificate, authority } of certificates) {
      this.#putCertificate(hub, serial, Buffer.from(certificate, "hex"), Buffer.from(authority, "hex"));
    }
    this.#trimCertificates(keep);
  }

  /** In the order in which their streams were first acknowledged. */
  all(): PackedReceipt[] {
    const rows = this.#database.query("SELECT * FROM receipts ORDER BY n").all() as ReceiptRow[];
    return rows.map(receiptFromRow);
  }

  certificates(): PackedCertificate[] {
    const rows = this.#database.query("SELECT * FROM receipt_certificates ORDER BY n").all();
    return (rows as CertificateRow[]).map(certificateFromRow);
  }
}

export function receiptFromRow(row: ReceiptRow): PackedReceipt {
  const { hub, epoch, lane, segment, number, key } = row;
  const [hash, signature] = [hex(row.hash), hex(row.signature)];
  return { hub, epoch, lane, segment, number, hash, key, atMs: row.at_ms, signature };
}

export function certificateFromRow(row: CertificateRow): PackedCertificate {
  const { hub, serial } = row;
  return { hub, serial, certificate: hex(row.certificate), authority: hex(row.authority) };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
