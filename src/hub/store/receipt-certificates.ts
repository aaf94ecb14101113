import type { Queries, Row } from "./database.ts";

export interface ReceiptCertificateRow {
  serial: string;
  /** DER. */
  certificate: Uint8Array;
  /** Trusted time. */
  madeMs: number;
}

export const RECEIPT_CERTIFICATES =
  "SELECT serial, certificate, made FROM receipt_certificates ORDER BY made, serial";

export async function addReceiptCertificate(tx: Queries, row: ReceiptCertificateRow): Promise<void> {
  await tx.run(
    "INSERT INTO receipt_certificates (serial, certificate, made) VALUES (?, ?, ?) ON CONFLICT (serial) DO NOTHING",
    [row.serial, row.certificate, row.madeMs],
  );
}

export function receiptCertificateOf(row: Row): ReceiptCertificateRow {
  return {
    serial: row.serial as string,
    certificate: row.certificate as Uint8Array,
    madeMs: Number(row.made),
  };
}
