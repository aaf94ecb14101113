import type { Migration } from "../../../storage/migrations.ts";

/**
 * `events.body` leaves out the head of the envelope that `source`, `id` and `type` repeat (envelope.ts). Times are Unix
 * milliseconds. JSON columns are text. `event_n` of an outbox row points to the event whose envelope is its body.
 */
export const first: Migration = {
  version: 1,
  name: "first",
  sql: `
PRAGMA application_id = 1212563783;

CREATE TABLE meta (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE epochs (
  n INTEGER PRIMARY KEY,
  epoch TEXT NOT NULL UNIQUE,
  reason TEXT NOT NULL,
  began_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE settings (
  key TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT;

CREATE TABLE sources (
  n INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE events (
  n INTEGER PRIMARY KEY,
  source INTEGER NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  time_ms INTEGER NOT NULL,
  recorded_ms INTEGER NOT NULL,
  body TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_identity ON events (source, id);

CREATE TABLE checkpoints (
  trigger TEXT PRIMARY KEY,
  value TEXT NOT NULL,
  recorded_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE rule_times (
  rule TEXT PRIMARY KEY,
  fired_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE definitions (
  hash TEXT PRIMARY KEY,
  body TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  pipeline TEXT NOT NULL,
  definition TEXT NOT NULL,
  rule TEXT,
  event_source TEXT,
  event_id TEXT,
  event_n INTEGER,
  params TEXT NOT NULL,
  state TEXT NOT NULL,
  open INTEGER NOT NULL,
  reason TEXT,
  created_ms INTEGER NOT NULL,
  started_ms INTEGER,
  ended_ms INTEGER
) STRICT;

CREATE INDEX runs_open ON runs (open, n);

CREATE TABLE steps (
  run INTEGER NOT NULL,
  step TEXT NOT NULL,
  part TEXT NOT NULL,
  position INTEGER NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  unknowns INTEGER NOT NULL,
  fence INTEGER NOT NULL,
  not_before_ms INTEGER NOT NULL,
  started_ms INTEGER,
  ended_ms INTEGER,
  output TEXT,
  error TEXT,
  reason TEXT,
  PRIMARY KEY (run, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE attempts (
  run INTEGER NOT NULL,
  step TEXT NOT NULL,
  number INTEGER NOT NULL,
  fence INTEGER NOT NULL,
  state TEXT NOT NULL,
  started_ms INTEGER NOT NULL,
  ended_ms INTEGER,
  error TEXT,
  PRIMARY KEY (run, step, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE streams (
  epoch TEXT NOT NULL,
  lane INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'closed')),
  first_link BLOB NOT NULL,
  last INTEGER NOT NULL,
  last_hash BLOB NOT NULL,
  acknowledged INTEGER NOT NULL,
  trimmed INTEGER NOT NULL,
  trimmed_hash BLOB NOT NULL,
  PRIMARY KEY (epoch, lane, segment)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
  lane INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  number INTEGER NOT NULL,
  class INTEGER NOT NULL,
  hash BLOB NOT NULL,
  event_n INTEGER,
  body TEXT,
  PRIMARY KEY (lane, segment, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE output_cursors (
  output TEXT PRIMARY KEY,
  n INTEGER NOT NULL
) STRICT;
`,
};
