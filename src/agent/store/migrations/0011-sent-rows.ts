import type { Migration } from "../../../storage/migrations.ts";

/** How much of what the hub has acknowledged is still here, by stream: rows from before count nothing. */
export const sentRows: Migration = {
  version: 11,
  name: "size of acknowledged rows",
  sql: `ALTER TABLE streams ADD COLUMN sent_bytes INTEGER NOT NULL DEFAULT 0;`,
};
