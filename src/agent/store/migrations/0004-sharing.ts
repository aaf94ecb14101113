import type { Migration } from "../../../storage/migrations.ts";

/**
 * What plugins share. Times are trusted Unix milliseconds. `memory.value` is JSON, and the last column, so that its size is
 * read without it. `memory_checkouts` holds who may update a key: its number is drawn from the same row of writes as `version`.
 */
export const sharing: Migration = {
  version: 4,
  name: "what plugins share",
  sql: `
CREATE TABLE memory (
  n INTEGER PRIMARY KEY,
  namespace TEXT NOT NULL,
  key TEXT NOT NULL,
  version INTEGER NOT NULL,
  changed_ms INTEGER NOT NULL,
  expires_ms INTEGER,
  bytes INTEGER NOT NULL,
  value TEXT NOT NULL,
  UNIQUE (namespace, key)
) STRICT;

CREATE INDEX memory_expiry ON memory (expires_ms) WHERE expires_ms IS NOT NULL;

CREATE TABLE memory_checkouts (
  n INTEGER PRIMARY KEY,
  namespace TEXT NOT NULL,
  key TEXT NOT NULL,
  fence INTEGER NOT NULL,
  UNIQUE (namespace, key)
) STRICT;

CREATE TABLE parameters (
  n INTEGER PRIMARY KEY,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  secret INTEGER NOT NULL,
  changed_ms INTEGER NOT NULL,
  changed_by TEXT NOT NULL,
  UNIQUE (namespace, name)
) STRICT;

CREATE TABLE secret_keys (
  n INTEGER PRIMARY KEY,
  master TEXT NOT NULL,
  sealed BLOB NOT NULL,
  made_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE secrets (
  n INTEGER PRIMARY KEY,
  namespace TEXT NOT NULL,
  name TEXT NOT NULL,
  data_key INTEGER NOT NULL,
  sealed BLOB NOT NULL,
  changed_ms INTEGER NOT NULL,
  changed_by TEXT NOT NULL,
  UNIQUE (namespace, name)
) STRICT;
`,
};
