import type { Database } from "bun:sqlite";
import type { MemoryEntry, MemoryListing } from "../../model/memory.ts";
import { isOver, type MemoryRow } from "./memory-rows.ts";

export interface MemoryFilter {
  /** Null is every namespace. */
  namespace: string | null;
  prefix: string;
  /** Namespace and key to go on after. */
  after: [namespace: string, key: string];
  limit: number;
  nowMs: number;
}

/** What is in the memory and not over. Nothing that is held for an update makes a reader wait. */
export class MemoryReads {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  get(namespace: string, key: string, nowMs: number): MemoryEntry | null {
    const row = this.#database
      .query(
        "SELECT version, changed_ms, expires_ms, bytes, value FROM memory WHERE namespace = ? AND key = ?",
      )
      .get(namespace, key) as MemoryRow | null;
    if (!row || isOver(row, nowMs)) return null;
    return {
      value: JSON.parse(row.value),
      version: row.version,
      changedMs: row.changed_ms,
      expiresMs: row.expires_ms,
    };
  }

  /** By namespace and key. */
  list({ namespace, prefix, after, limit, nowMs }: MemoryFilter): MemoryListing[] {
    // Every character of a key is smaller than `~`.
    const rows = this.#database
      .query(
        `SELECT namespace, key, version, changed_ms, expires_ms, bytes FROM memory
          WHERE (namespace, key) > (?1, ?2) AND (?3 IS NULL OR namespace = ?3) AND key >= ?4 AND key < ?4 || '~'
            AND (expires_ms IS NULL OR expires_ms > ?5)
          ORDER BY namespace, key LIMIT ?6`,
      )
      .all(...after, namespace, prefix, nowMs, limit) as (MemoryRow & { namespace: string; key: string })[];
    return rows.map((row) => ({
      namespace: row.namespace,
      key: row.key,
      bytes: row.bytes,
      version: row.version,
      changedMs: row.changed_ms,
      expiresMs: row.expires_ms,
    }));
  }

  /** Everything of one namespace, as JSON: Bun hands a text over without walking it. */
  namespace(namespace: string): string {
    const rows = this.#database
      .query("SELECT key, version, expires_ms, value FROM memory WHERE namespace = ? ORDER BY key")
      .all(namespace) as { key: string; version: number; expires_ms: number | null; value: string }[];
    const items = rows.map(
      ({ key, version, expires_ms, value }) =>
        `{"key":${JSON.stringify(key)},"version":${version},"expiresMs":${expires_ms},"value":${value}}`,
    );
    return `[${items.join(",")}]`;
  }
}
