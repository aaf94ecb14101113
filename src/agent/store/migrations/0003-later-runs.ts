import type { Migration } from "../../../storage/migrations.ts";

/** Runs that actions have put off. One that has ended stays a while, so that the same step does not ask for it again. */
export const laterRuns: Migration = {
  version: 3,
  name: "later runs",
  sql: `
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
`,
};
