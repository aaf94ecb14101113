import type { Database } from "bun:sqlite";
import type { Json } from "../../model/json.ts";
import type { WriteGate } from "../../storage/write-gate.ts";

/** The small tables: settings, trigger checkpoints, rule times, output cursors, and the store's own facts (`meta`). */
export class KeyValues {
  readonly #database: Database;
  readonly #putMeta;
  readonly #putSetting;
  readonly #putCheckpoint;
  readonly #putRuleTime;
  readonly #putCursor;

  constructor(database: Database, gate: WriteGate) {
    this.#database = database;
    const put = (label: string, sql: string) =>
      gate.prepare(database, label, `INSERT OR REPLACE INTO ${sql}`);
    this.#putMeta = put("meta.put", "meta VALUES (?, ?)");
    this.#putSetting = put("settings.put", "settings VALUES (?, ?)");
    this.#putCheckpoint = put("checkpoints.put", "checkpoints VALUES (?, ?, ?)");
    this.#putRuleTime = put("rule_times.put", "rule_times VALUES (?, ?)");
    this.#putCursor = put("output_cursors.put", "output_cursors VALUES (?, ?)");
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

  setCheckpoint(trigger: string, value: Json, recordedMs: number): void {
    this.#putCheckpoint(trigger, JSON.stringify(value), recordedMs);
  }

  ruleTimes(): Record<string, number> {
    const rows = this.#database.query("SELECT rule, fired_ms FROM rule_times").all();
    return Object.fromEntries(
      (rows as { rule: string; fired_ms: number }[]).map((row) => [row.rule, row.fired_ms]),
    );
  }

  setRuleTime(rule: string, firedAtMs: number): void {
    this.#putRuleTime(rule, firedAtMs);
  }

  outputCursor(output: string): number | undefined {
    const row = this.#database.query("SELECT n FROM output_cursors WHERE output = ?").get(output);
    return (row as { n: number } | null)?.n;
  }

  setOutputCursor(output: string, n: number): void {
    this.#putCursor(output, n);
  }

  /** The event that every known output has read; undefined when there is no output. */
  lowestCursor(): number | undefined {
    const row = this.#database.query("SELECT min(n) AS n FROM output_cursors").get();
    return (row as { n: number | null }).n ?? undefined;
  }
}

function parsed(row: unknown): Json | undefined {
  return row ? (JSON.parse((row as { value: string }).value) as Json) : undefined;
}
