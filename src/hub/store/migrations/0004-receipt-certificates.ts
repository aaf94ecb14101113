import type { Types } from "../column-types.ts";

/** Every certificate for receipts that this hub has had (DER): old receipts are checked with it. `made` is trusted time. */
export function receiptCertificates(t: Types): string[] {
  return [
    `CREATE TABLE receipt_certificates (
  serial TEXT NOT NULL PRIMARY KEY,
  certificate ${t.bytes} NOT NULL,
  made ${t.big} NOT NULL
)`,
  ];
}
