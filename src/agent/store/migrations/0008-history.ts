import type { Migration } from "../../../storage/migrations.ts";

/**
 * What keeps history in bounds without looking through it: which number was the last when, by trusted time; when findings
 * were resolved and dead letters came, by the same time; how many numbers have no row any more.
 */
export const history: Migration = {
  version: 8,
  name: "history by count, age and size",
  sql: `
CREATE TABLE history_marks (
  name TEXT NOT NULL,
  n INTEGER NOT NULL,
  trusted_ms INTEGER NOT NULL,
  PRIMARY KEY (name, n)
) STRICT, WITHOUT ROWID;
ALTER TABLE findings ADD COLUMN over_ms INTEGER;
UPDATE findings SET over_ms = coalesce(resolved_ms, last_ms) WHERE state = 'resolved';
CREATE INDEX findings_over ON findings (over_ms) WHERE over_ms IS NOT NULL;
ALTER TABLE dead_letters ADD COLUMN kept_ms INTEGER;
UPDATE dead_letters SET kept_ms = created_ms;
INSERT INTO meta VALUES ('deleted_events', (SELECT coalesce(max(n), 0) - count(*) FROM events));
INSERT INTO meta VALUES ('deleted_runs', (SELECT coalesce(max(n), 0) - count(*) FROM runs));
`,
};
