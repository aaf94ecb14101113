CREATE TABLE agents (
  id TEXT NOT NULL PRIMARY KEY,
  public_key TEXT NOT NULL,
  certificate_serial TEXT NOT NULL,
  certificate_expires INTEGER NOT NULL,
  enrolled INTEGER NOT NULL,
  labels TEXT NOT NULL,
  facts TEXT NOT NULL,
  epoch TEXT,
  last_hello INTEGER,
  last_heartbeat INTEGER,
  clock_offset INTEGER,
  status TEXT NOT NULL
);

CREATE TABLE api_tokens (
  hash TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  created INTEGER NOT NULL
);

CREATE TABLE events (
  n INTEGER PRIMARY KEY,
  agent TEXT NOT NULL,
  source TEXT NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  subject TEXT,
  severity TEXT,
  time TEXT NOT NULL,
  stream INTEGER NOT NULL,
  number INTEGER NOT NULL,
  UNIQUE (agent, source, id)
);

CREATE TABLE forks (
  stream INTEGER NOT NULL,
  number INTEGER NOT NULL,
  hash BLOB NOT NULL,
  class INTEGER NOT NULL,
  body BLOB NOT NULL,
  received INTEGER NOT NULL,
  PRIMARY KEY (stream, number, hash)
);

CREATE TABLE join_tokens (
  hash TEXT NOT NULL PRIMARY KEY,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  uses_left INTEGER NOT NULL
);

CREATE TABLE losses (
  stream INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  counts TEXT NOT NULL,
  prev_hash BLOB NOT NULL,
  hash BLOB NOT NULL,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL,
  signature BLOB NOT NULL,
  public_key BLOB NOT NULL,
  received INTEGER NOT NULL,
  PRIMARY KEY (stream, first)
) WITHOUT ROWID;

CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE receipt_certificates (
  serial TEXT NOT NULL PRIMARY KEY,
  certificate BLOB NOT NULL,
  made INTEGER NOT NULL
);

CREATE TABLE records (
  stream INTEGER NOT NULL,
  number INTEGER NOT NULL,
  class INTEGER NOT NULL,
  hash BLOB NOT NULL,
  body BLOB NOT NULL,
  received INTEGER NOT NULL,
  PRIMARY KEY (stream, number)
) WITHOUT ROWID;

CREATE TABLE runs (
  id TEXT NOT NULL,
  agent TEXT NOT NULL,
  n INTEGER NOT NULL UNIQUE,
  pipeline TEXT NOT NULL,
  rule TEXT,
  state TEXT NOT NULL,
  reason TEXT,
  event_source TEXT,
  event_id TEXT,
  created INTEGER NOT NULL,
  started INTEGER,
  ended INTEGER,
  steps TEXT NOT NULL,
  epoch TEXT NOT NULL,
  segment INTEGER NOT NULL,
  number INTEGER NOT NULL, details TEXT,
  PRIMARY KEY (id, agent)
);

CREATE TABLE schema_version (version INTEGER NOT NULL);

CREATE TABLE steps (
  agent TEXT NOT NULL,
  run TEXT NOT NULL,
  step TEXT NOT NULL,
  action TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  key TEXT NOT NULL,
  started INTEGER,
  ended INTEGER,
  output TEXT NOT NULL,
  error TEXT NOT NULL,
  reason TEXT,
  epoch TEXT NOT NULL,
  segment INTEGER NOT NULL,
  number INTEGER NOT NULL, details TEXT,
  PRIMARY KEY (run, agent, step)
);

CREATE TABLE streams (
  id INTEGER PRIMARY KEY,
  agent TEXT NOT NULL,
  epoch TEXT NOT NULL,
  lane INTEGER NOT NULL,
  segment INTEGER NOT NULL,
  number INTEGER NOT NULL,
  hash BLOB NOT NULL,
  first_link BLOB NOT NULL,
  forked INTEGER NOT NULL,
  UNIQUE (agent, epoch, lane, segment)
);

CREATE INDEX events_by_agent ON events (agent, n);

CREATE INDEX events_by_type ON events (type, n);

CREATE INDEX runs_by_agent ON runs (agent, id);
