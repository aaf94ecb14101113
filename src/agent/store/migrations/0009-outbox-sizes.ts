import type { Migration } from "../../../storage/migrations.ts";

/**
 * How much waits for the hub, known without looking through it: bytes of each row's body, and rows and bytes of each stream
 * that the hub has not acknowledged. Rows from before count nothing by size.
 */
export const outboxSizes: Migration = {
  version: 9,
  name: "sizes of the outbox",
  sql: `
ALTER TABLE outbox ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
ALTER TABLE streams ADD COLUMN rows INTEGER NOT NULL DEFAULT 0;
ALTER TABLE streams ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE streams SET rows = last - acknowledged;
`,
};
