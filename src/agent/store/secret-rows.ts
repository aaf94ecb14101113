import type { Database } from "bun:sqlite";
import type { SealedKey, SealedSecret } from "../../model/secret.ts";
import type { WriteGate } from "../../storage/write-gate.ts";

/** No namespace is called so: of all. */
const GLOBAL = "";

/** Sealed bytes cross to this thread as base64. */
export type PackedSecret = Omit<SealedSecret, "sealed"> & { sealed: string };
export type PackedKey = Omit<SealedKey, "sealed"> & { sealed: string };

/** Sealed secrets and the sealed keys that open them. Nothing here is readable without a master key. */
export class SecretRows {
  readonly #database: Database;
  readonly #putKey;
  readonly #dropKeys;
  readonly #put;
  readonly #delete;

  constructor(database: Database, gate: WriteGate) {
    this.#database = database;
    const prepare = (label: string, sql: string) => gate.prepare(database, label, sql);
    this.#putKey = prepare(
      "secret_keys.put",
      "INSERT OR REPLACE INTO secret_keys (n, master, sealed, made_ms) VALUES (?, ?, ?, ?)",
    );
    this.#dropKeys = prepare(
      "secret_keys.drop",
      "DELETE FROM secret_keys WHERE n <> ? AND n NOT IN (SELECT data_key FROM secrets)",
    );
    this.#put = prepare(
      "secrets.put",
      `INSERT INTO secrets (namespace, name, data_key, sealed, changed_ms, changed_by) VALUES (?, ?, ?, ?, ?, ?)
        ON CONFLICT (namespace, name) DO UPDATE SET data_key = excluded.data_key, sealed = excluded.sealed,
          changed_ms = excluded.changed_ms, changed_by = excluded.changed_by`,
    );
    this.#delete = prepare("secrets.delete", "DELETE FROM secrets WHERE namespace = ? AND name = ?");
  }

  /** All of it in one transaction: who is interrupted finds what was there before, or what is there after. */
  put({ key, secrets }: { key: PackedKey | null; secrets: PackedSecret[] }): void {
    if (key) this.#putKey(key.number, key.master, Buffer.from(key.sealed, "base64"), key.madeMs);
    for (const { namespace, name, dataKey, sealed, changedMs, changedBy } of secrets)
      this.#put(namespace ?? GLOBAL, name, dataKey, Buffer.from(sealed, "base64"), changedMs, changedBy);
    if (key) this.#dropKeys(key.number);
  }

  delete(namespace: string | null, name: string): boolean {
    return this.#delete(namespace ?? GLOBAL, name) > 0;
  }

  all(): { keys: PackedKey[]; secrets: PackedSecret[] } {
    const keys = this.#database.query("SELECT * FROM secret_keys ORDER BY n").all() as KeyRow[];
    const secrets = this.#database
      .query("SELECT * FROM secrets ORDER BY namespace, name")
      .all() as SecretRow[];
    return { keys: keys.map(keyFromRow), secrets: secrets.map(secretFromRow) };
  }
}

export interface KeyRow {
  n: number;
  master: string;
  sealed: Uint8Array;
  made_ms: number;
}

export interface SecretRow {
  namespace: string;
  name: string;
  data_key: number;
  sealed: Uint8Array;
  changed_ms: number;
  changed_by: string;
}

export function keyFromRow(row: KeyRow): PackedKey {
  const sealed = Buffer.from(row.sealed).toString("base64");
  return { number: row.n, master: row.master, sealed, madeMs: row.made_ms };
}

export function secretFromRow(row: SecretRow): PackedSecret {
  return {
    namespace: row.namespace === GLOBAL ? null : row.namespace,
    name: row.name,
    dataKey: row.data_key,
    sealed: Buffer.from(row.sealed).toString("base64"),
    changedMs: row.changed_ms,
    changedBy: row.changed_by,
  };
}
