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
, starter_kind TEXT NOT NULL DEFAULT 'manual', starter_by TEXT NOT NULL DEFAULT 'unknown', by_rule INTEGER NOT NULL DEFAULT 0, priority INTEGER NOT NULL DEFAULT 0, concurrency_key TEXT, parent_run TEXT, parent_step TEXT, parent_key TEXT, retry_of TEXT, stop TEXT, deadline_ms INTEGER, output TEXT, config TEXT) STRICT;

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
  reason TEXT, waits TEXT, extra TEXT,
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
  error TEXT, worker TEXT, ended TEXT,
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
  trimmed_hash BLOB NOT NULL, rows INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0, sent_bytes INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (epoch, lane, segment)
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
  lane INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  number INTEGER NOT NULL,
  class INTEGER NOT NULL,
  hash BLOB NOT NULL,
  event_n INTEGER,
  body TEXT, size INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (lane, segment, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE output_cursors (
  output TEXT PRIMARY KEY,
  n INTEGER NOT NULL
) STRICT;

CREATE INDEX runs_open ON runs (n) WHERE open = 1;

CREATE UNIQUE INDEX runs_parent_key ON runs (parent_key) WHERE parent_key IS NOT NULL;

CREATE INDEX runs_parent ON runs (parent_run) WHERE parent_run IS NOT NULL;

CREATE TABLE rule_states (
  n INTEGER PRIMARY KEY,
  rule TEXT NOT NULL,
  key TEXT NOT NULL,
  body TEXT NOT NULL,
  UNIQUE (rule, key)
) STRICT;

CREATE TABLE window_entries (
  n INTEGER PRIMARY KEY,
  rule TEXT NOT NULL,
  key TEXT NOT NULL,
  at_ms INTEGER NOT NULL,
  value ANY
) STRICT;

CREATE INDEX window_entries_time ON window_entries (rule, at_ms);

CREATE TABLE findings (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  rule TEXT NOT NULL,
  key TEXT NOT NULL,
  severity TEXT NOT NULL,
  title TEXT NOT NULL,
  data TEXT,
  state TEXT NOT NULL,
  count INTEGER NOT NULL,
  first_ms INTEGER NOT NULL,
  last_ms INTEGER NOT NULL,
  resolved_ms INTEGER
, extra TEXT, over_ms INTEGER) STRICT;

CREATE INDEX findings_state ON findings (state, n);

CREATE TABLE lock_places (
  n INTEGER PRIMARY KEY,
  namespace TEXT NOT NULL,
  lock TEXT NOT NULL,
  run TEXT NOT NULL,
  UNIQUE (namespace, lock, run)
) STRICT;

CREATE INDEX lock_places_run ON lock_places (run);

CREATE TABLE dead_letters (
  n INTEGER PRIMARY KEY,
  run TEXT NOT NULL UNIQUE,
  pipeline TEXT NOT NULL,
  rule TEXT,
  params TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  errors TEXT NOT NULL,
  created_ms INTEGER NOT NULL
, kept_ms INTEGER) STRICT;

CREATE TABLE later_runs (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  key TEXT NOT NULL UNIQUE,
  pipeline TEXT NOT NULL,
  params TEXT NOT NULL,
  due_ms INTEGER NOT NULL,
  by_wall INTEGER NOT NULL,
  plugin TEXT NOT NULL,
  run TEXT NOT NULL,
  step TEXT NOT NULL,
  rule TEXT,
  cause TEXT,
  hops INTEGER NOT NULL,
  created_ms INTEGER NOT NULL,
  state TEXT NOT NULL
) STRICT;

CREATE INDEX later_runs_waiting ON later_runs (n) WHERE state = 'waiting';

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

CREATE TABLE silences (
  n INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  matches TEXT NOT NULL,
  mute TEXT NOT NULL,
  comment TEXT NOT NULL,
  created_by TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  until_ms INTEGER NOT NULL,
  ended_ms INTEGER,
  ended_by TEXT,
  counts TEXT NOT NULL
) STRICT;

CREATE TABLE history_marks (
  name TEXT NOT NULL,
  n INTEGER NOT NULL,
  trusted_ms INTEGER NOT NULL,
  PRIMARY KEY (name, n)
) STRICT, WITHOUT ROWID;

CREATE INDEX findings_over ON findings (over_ms) WHERE over_ms IS NOT NULL;

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
