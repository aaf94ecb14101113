import type { Migration } from "../../../storage/migrations.ts";

/** What a finding has beside its columns, as JSON: who has looked at it, notes, how it ended, the event behind it. */
export const findings: Migration = {
  version: 5,
  name: "the life of findings",
  sql: `
ALTER TABLE findings ADD COLUMN extra TEXT;
`,
};
