import type { Migration } from "../../../storage/migrations.ts";

/**
 * The newest receipt of each stream that a hub has acknowledged, and every certificate that vouches for the key of one.
 * `at_ms` is the hub's trusted time; `authority` is the CA that issued the certificate; both DER.
 */
export const receipts: Migration = {
  version: 10,
  name: "receipts",
  sql: `
CREATE TABLE receipts (
  n INTEGER PRIMARY KEY,
  hub TEXT NOT NULL,
  epoch TEXT NOT NULL,
  lane INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  number INTEGER NOT NULL,
  hash BLOB NOT NULL,
  key TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  signature BLOB NOT NULL,
  UNIQUE (hub, epoch, lane, segment)
) STRICT;

CREATE TABLE receipt_certificates (
  n INTEGER PRIMARY KEY,
  hub TEXT NOT NULL,
  serial TEXT NOT NULL,
  certificate BLOB NOT NULL,
  authority BLOB NOT NULL,
  UNIQUE (hub, serial)
) STRICT;
`,
};
