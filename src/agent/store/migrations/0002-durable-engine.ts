import type { Migration } from "../../../storage/migrations.ts";

/**
 * Runs with a starter, a parent, a stop and an output; steps that say what they wait for; what rules remember; findings,
 * locks and dead letters. `by_rule`: attempts of the run count as side effects of rules, because a rule started it or a
 * run above it. `rule_times` goes: cooldowns are part of the rules' state now, which is kept under the hash of a rule, and
 * that is not known here. The one consequence: a rule may fire once before the cooldown of its last firing is over.
 * Ended runs are no longer in an index: a run enters `runs_open` and leaves it.
 */
export const durableEngine: Migration = {
  version: 2,
  name: "durable engine",
  sql: `
ALTER TABLE runs ADD COLUMN starter_kind TEXT NOT NULL DEFAULT 'manual';
ALTER TABLE runs ADD COLUMN starter_by TEXT NOT NULL DEFAULT 'unknown';
ALTER TABLE runs ADD COLUMN by_rule INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN concurrency_key TEXT;
ALTER TABLE runs ADD COLUMN parent_run TEXT;
ALTER TABLE runs ADD COLUMN parent_step TEXT;
ALTER TABLE runs ADD COLUMN parent_key TEXT;
ALTER TABLE runs ADD COLUMN retry_of TEXT;
ALTER TABLE runs ADD COLUMN stop TEXT;
ALTER TABLE runs ADD COLUMN deadline_ms INTEGER;
ALTER TABLE runs ADD COLUMN output TEXT;

UPDATE runs SET starter_kind = 'rule', starter_by = rule, by_rule = 1 WHERE rule IS NOT NULL;

DROP INDEX runs_open;

CREATE INDEX runs_open ON runs (n) WHERE open = 1;

CREATE UNIQUE INDEX runs_parent_key ON runs (parent_key) WHERE parent_key IS NOT NULL;

CREATE INDEX runs_parent ON runs (parent_run) WHERE parent_run IS NOT NULL;

ALTER TABLE steps ADD COLUMN waits TEXT;
ALTER TABLE steps ADD COLUMN extra TEXT;

UPDATE steps SET waits = CASE WHEN attempts = 0 THEN 'needs' ELSE 'decision' END WHERE state = 'waiting';

DROP TABLE rule_times;

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
) STRICT;

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
) STRICT;
`,
};
