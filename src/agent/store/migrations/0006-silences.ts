import type { Migration } from "../../../storage/migrations.ts";

/**
 * What people have silenced, and until when. `until_ms` is trusted time, `created_ms` and `ended_ms` are wall time. `matches`
 * is a list of {name, pattern}, `mute` a list of words, `counts` an object, as JSON.
 */
export const silences: Migration = {
  version: 6,
  name: "silences",
  sql: `
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
`,
};
