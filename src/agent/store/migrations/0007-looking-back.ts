import type { Migration } from "../../../storage/migrations.ts";

/**
 * What a run goes back to: `runs.config` is the hash of the configuration in force when it was made, `attempts.worker` of
 * what carried the attempt out, both in `definitions`; `attempts.ended` is JSON of how its process ended.
 */
export const lookingBack: Migration = {
  version: 7,
  name: "looking back",
  sql: `
ALTER TABLE runs ADD COLUMN config TEXT;
ALTER TABLE attempts ADD COLUMN worker TEXT;
ALTER TABLE attempts ADD COLUMN ended TEXT;
`,
};
