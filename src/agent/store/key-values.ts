import type { Database } from "bun:sqlite";
import type { Json } from "../../model/json.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import { storedJson } from "./stored-json.ts";

/** The small tables: settings, trigger checkpoints, output cursors, and the store's own facts (`meta`). */
export class KeyValues {
  readonly #database: Database;
  readonly #putMeta;
  readonly #putSetting;
  readonly #putCheckpoint;
  readonly #putCursor;
  readonly #forgetCheckpoints;
  /** Checkpoints of this transaction: of many in one group only the last of a trigger is written. */
  readonly #moved = new Map<string, [value: string, recordedMs: number]>();

  constructor(database: Database, gate: WriteGate) {
    this.#database = database;
    const put = (label: string, sql: string) =>
      gate.prepare(database, label, `INSERT OR REPLACE INTO ${sql}`);
    this.#putMeta = put("meta.put", "meta VALUES (?, ?)");
    this.#putSetting = put("settings.put", "settings VALUES (?, ?)");
    this.#putCheckpoint = put("checkpoints.put", "checkpoints VALUES (?, ?, ?)");
    this.#forgetCheckpoints = gate.prepare(
      database,
      "checkpoints.forget",
      `DELETE FROM checkpoints WHERE substr(trigger, 1, length(?1)) = ?1
        AND trigger NOT IN (SELECT value FROM json_each(?2))`,
    );
    this.#putCursor = put("output_cursors.put", "output_cursors VALUES (?, ?)");
  }

  meta(key: string): Json | undefined {
    return parsed(this.#database.query("SELECT value FROM meta WHERE key = ?").get(key));
  }

  /** Forgets what a roll-back took. */
  load(): void {
    this.#moved.clear();
  }

  flush(): void {
    for (const [trigger, [value, recordedMs]] of this.#moved) this.#putCheckpoint(trigger, value, recordedMs);
    this.#moved.clear();
  }

  setMeta(key: string, value: Json): void {
    this.#putMeta(key, JSON.stringify(value));
  }

  setting(key: string): Json | undefined {
    return parsed(this.#database.query("SELECT value FROM settings WHERE key = ?").get(key));
  }

  setSetting(key: string, value: Json): void {
    this.#putSetting(key, JSON.stringify(value));
  }

  checkpoint(trigger: string): Json | undefined {
    return parsed(this.#database.query("SELECT value FROM checkpoints WHERE trigger = ?").get(trigger));
  }

  /** Of triggers whose names begin so, those in `keep`; the others are forgotten. */
  checkpointsOf(prefix: string, keep: string[]): { trigger: string; value: Json }[] {
    this.flush();
    this.#forgetCheckpoints(prefix, JSON.stringify(keep));
    const rows = this.#database
      .query("SELECT trigger, value FROM checkpoints WHERE substr(trigger, 1, length(?1)) = ?1")
      .all(prefix) as { trigger: string; value: string }[];
    return rows.map(({ trigger, value }) => ({ trigger, value: JSON.parse(value) as Json }));
  }

  setCheckpoint(trigger: string, value: Json, recordedMs: number): void {
    this.#moved.set(trigger, [JSON.stringify(value), recordedMs]);
  }

  outputCursor(output: string): number | undefined {
    const row = this.#database.query("SELECT n FROM output_cursors WHERE output = ?").get(output);
    return (row as { n: number } | null)?.n;
  }

  setOutputCursor(output: string, n: number): void {
    this.#putCursor(output, n);
  }

  /** The event that each of these outputs has read (null: every known one); undefined when there is none. */
  lowestCursor(outputs: string[] | null): number | undefined {
    const row =
      outputs === null
        ? this.#database.query("SELECT min(n) AS n FROM output_cursors").get()
        : this.#database
            .query("SELECT min(n) AS n FROM output_cursors WHERE output IN (SELECT value FROM json_each(?))")
            .get(JSON.stringify(outputs));
    return (row as { n: number | null }).n ?? undefined;
  }
}

function parsed(row: unknown): Json | undefined {
  return row ? storedJson<Json>((row as { value: string }).value) : undefined;
}
