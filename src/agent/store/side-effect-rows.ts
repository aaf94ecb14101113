import type { Database } from "bun:sqlite";
import type { WriteGate } from "../../storage/write-gate.ts";
import type { SideEffects } from "./port.ts";

/** Settings with this prefix; then the minute, so that they are in the order of time, and the pipeline. */
const PREFIX = "side_effects/";
/** Past the last of them. */
const END = "side_effects0";
/** Minutes of trusted time that are kept: the last hour, and the minute in which it begins. */
const KEPT = 61;

/**
 * How many attempts of actions the rules began in each minute of trusted time. Counted with the lease, and apart from
 * the attempts: those have wall times, which may be wrong by years, and go with the history.
 */
export class SideEffectRows {
  readonly #database: Database;
  readonly #count;
  readonly #forget;
  #lastMinute = 0;

  constructor(database: Database, gate: WriteGate) {
    this.#database = database;
    this.#count = gate.prepare(
      database,
      "side_effects.count",
      `INSERT INTO settings (key, value) VALUES (?, '1')
        ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + 1`,
    );
    this.#forget = gate.prepare(
      database,
      "side_effects.forget",
      `DELETE FROM settings WHERE key >= '${PREFIX}' AND key < ?`,
    );
  }

  count({ minute, pipeline }: { minute: number; pipeline: string }): void {
    this.#count(keyOf(minute) + pipeline);
    if (minute <= this.#lastMinute) return;
    this.#lastMinute = minute;
    this.#forget(keyOf(minute - KEPT));
  }

  since(minute: number): SideEffects[] {
    const rows = this.#database
      .query(
        "SELECT key, CAST(value AS INTEGER) AS count FROM settings WHERE key >= ? AND key < ? ORDER BY key",
      )
      .all(keyOf(minute), END) as { key: string; count: number }[];
    return rows.map(({ key, count }) => {
      const [, at, pipeline] = key.split("/");
      return { minute: Number(at), pipeline: pipeline!, count };
    });
  }
}

function keyOf(minute: number): string {
  return `${PREFIX}${String(Math.max(0, minute)).padStart(10, "0")}/`;
}
