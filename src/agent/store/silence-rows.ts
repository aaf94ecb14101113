import type { Database } from "bun:sqlite";
import type { Silence } from "../../model/silence.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import { storedJson } from "./stored-json.ts";

/** Silences that are over are kept up to so many, the newest. */
export const MAX_OVER = 1000;

/** What people have silenced; those that are over stay for a while, to be looked at. */
export class SilenceRows {
  readonly #database: Database;
  readonly #put;
  readonly #trim;

  constructor(database: Database, gate: WriteGate) {
    this.#database = database;
    this.#put = gate.prepare(
      database,
      "silences.put",
      `INSERT INTO silences (id, matches, mute, comment, created_by, created_ms, until_ms, ended_ms, ended_by, counts)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET ended_ms = coalesce(excluded.ended_ms, ended_ms),
          ended_by = coalesce(excluded.ended_by, ended_by), counts = excluded.counts`,
    );
    this.#trim = gate.prepare(
      database,
      "silences.trim",
      `DELETE FROM silences WHERE n IN (SELECT n FROM silences WHERE until_ms <= ?1 OR ended_ms IS NOT NULL
        ORDER BY n DESC LIMIT -1 OFFSET ?2)`,
    );
  }

  put(silence: Silence): void {
    const { id, match, mute, comment, createdBy, createdMs, untilMs, ended, counts } = silence;
    this.#put(
      ...[id, JSON.stringify(match), JSON.stringify(mute), comment, createdBy, createdMs, untilMs],
      ...[ended?.atMs ?? null, ended?.by ?? null, JSON.stringify(counts)],
    );
  }

  /** Of those that are over at this trusted time the oldest go, when there are too many. */
  trim(nowMs: number, keep = MAX_OVER): void {
    this.#trim(nowMs, keep);
  }

  /** In the order in which they were made. */
  all(): Silence[] {
    const rows = this.#database.query("SELECT * FROM silences ORDER BY n").all() as SilenceRow[];
    return rows.map(silenceFromRow);
  }
}

export interface SilenceRow {
  id: string;
  matches: string;
  mute: string;
  comment: string;
  created_by: string;
  created_ms: number;
  until_ms: number;
  ended_ms: number | null;
  ended_by: string | null;
  counts: string;
}

export function silenceFromRow(row: SilenceRow): Silence {
  return {
    id: row.id,
    match: storedJson(row.matches),
    mute: storedJson(row.mute),
    comment: row.comment,
    createdBy: row.created_by,
    createdMs: row.created_ms,
    untilMs: row.until_ms,
    ended: row.ended_ms === null ? null : { by: row.ended_by ?? "", atMs: row.ended_ms },
    counts: storedJson(row.counts),
  };
}
