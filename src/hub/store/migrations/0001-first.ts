import type { Types } from "../column-types.ts";

/** Streams of records as agents sent them, and the projections that lists read. Times: Unix milliseconds. */
export function first(t: Types): string[] {
  return [
    `CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)`,

    `CREATE TABLE agents (
  id TEXT NOT NULL PRIMARY KEY,
  public_key TEXT NOT NULL,
  certificate_serial TEXT NOT NULL,
  certificate_expires ${t.big} NOT NULL,
  enrolled ${t.big} NOT NULL,
  labels TEXT NOT NULL,
  facts TEXT NOT NULL,
  epoch TEXT,
  last_hello ${t.big},
  last_heartbeat ${t.big},
  clock_offset ${t.big},
  status TEXT NOT NULL
)`,

    `CREATE TABLE join_tokens (
  hash TEXT NOT NULL PRIMARY KEY,
  created ${t.big} NOT NULL,
  expires ${t.big} NOT NULL,
  uses_left ${t.big} NOT NULL
)`,

    `CREATE TABLE api_tokens (
  hash TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  created ${t.big} NOT NULL
)`,

    // number and hash: the cursor. first_link: the hash before row 1.
    `CREATE TABLE streams (
  id ${t.identity},
  agent TEXT NOT NULL,
  epoch TEXT NOT NULL,
  lane ${t.big} NOT NULL,
  segment ${t.big} NOT NULL,
  number ${t.big} NOT NULL,
  hash ${t.bytes} NOT NULL,
  first_link ${t.bytes} NOT NULL,
  forked ${t.big} NOT NULL,
  UNIQUE (agent, epoch, lane, segment)
)`,

    `CREATE TABLE records (
  stream ${t.big} NOT NULL,
  number ${t.big} NOT NULL,
  class ${t.big} NOT NULL,
  hash ${t.bytes} NOT NULL,
  body ${t.bytes} NOT NULL,
  received ${t.big} NOT NULL,
  PRIMARY KEY (stream, number)
)${t.clustered}`,

    // Rows whose number was taken by another row: both are kept.
    `CREATE TABLE forks (
  stream ${t.big} NOT NULL,
  number ${t.big} NOT NULL,
  hash ${t.bytes} NOT NULL,
  class ${t.big} NOT NULL,
  body ${t.bytes} NOT NULL,
  received ${t.big} NOT NULL,
  PRIMARY KEY (stream, number, hash)
)`,

    // n: order of arrival. The envelope itself is the body of (stream, number).
    `CREATE TABLE events (
  n ${t.identity},
  agent TEXT NOT NULL,
  source TEXT NOT NULL,
  id TEXT NOT NULL,
  type TEXT NOT NULL,
  subject TEXT,
  severity TEXT,
  time TEXT NOT NULL,
  stream ${t.big} NOT NULL,
  number ${t.big} NOT NULL,
  UNIQUE (agent, source, id)
)`,
    `CREATE INDEX events_by_agent ON events (agent, n)`,
    `CREATE INDEX events_by_type ON events (type, n)`,

    // n: order of changes. epoch, segment, number: the record that this state comes from. steps: their definitions, JSON.
    `CREATE TABLE runs (
  id TEXT NOT NULL,
  agent TEXT NOT NULL,
  n ${t.big} NOT NULL UNIQUE,
  pipeline TEXT NOT NULL,
  rule TEXT,
  state TEXT NOT NULL,
  reason TEXT,
  event_source TEXT,
  event_id TEXT,
  created ${t.big} NOT NULL,
  started ${t.big},
  ended ${t.big},
  steps TEXT NOT NULL,
  epoch TEXT NOT NULL,
  segment ${t.big} NOT NULL,
  number ${t.big} NOT NULL,
  PRIMARY KEY (id, agent)
)`,
    `CREATE INDEX runs_by_agent ON runs (agent, id)`,

    `CREATE TABLE steps (
  agent TEXT NOT NULL,
  run TEXT NOT NULL,
  step TEXT NOT NULL,
  action TEXT NOT NULL,
  state TEXT NOT NULL,
  attempts ${t.big} NOT NULL,
  key TEXT NOT NULL,
  started ${t.big},
  ended ${t.big},
  output TEXT NOT NULL,
  error TEXT NOT NULL,
  reason TEXT,
  epoch TEXT NOT NULL,
  segment ${t.big} NOT NULL,
  number ${t.big} NOT NULL,
  PRIMARY KEY (run, agent, step)
)`,
  ];
}
