import type { Database } from "bun:sqlite";
import { HoldfastError } from "../../core/errors.ts";
import type { Json } from "../../model/json.ts";
import type { FindingRow } from "../../model/rule.ts";
import type { SetParameter } from "../../model/shared-parameter.ts";
import type { Silence } from "../../model/silence.ts";
import { schemaVersion } from "../../storage/migrations.ts";
import { openDatabase } from "../../storage/open-database.ts";
import { storageError } from "../../storage/storage-error.ts";
import { wholeBody } from "./envelope.ts";
import { type EventCells, type PastEvent, pastEvent, type PastRun, pastRun } from "./past-rows.ts";
import { type ParameterRow, parameterFromRow } from "./parameter-rows.ts";
import { checkReadable, checkSchema, hasLog } from "./past-checks.ts";
import { findingFromRow } from "./rule-rows.ts";
import { fromJson, type SqlRow } from "./run-columns.ts";
import { type SilenceRow, silenceFromRow } from "./silence-rows.ts";

/** The first schema with silences. */
const SILENCES_SCHEMA = 6;
const MAX_JUMPS = 10_000;

/**
 * An agent's store as a file, read only: beside a running agent as well as without one, and a copy from another host. In
 * short reads, none of which keeps the agent's log from being taken into its file.
 */
export class PastReader {
  readonly #database: Database;
  readonly #path: string;
  readonly #still: boolean;
  readonly #sources = new Map<number, string>();
  readonly #events;
  readonly #times;
  readonly #runs;

  constructor(path: string) {
    checkReadable(path);
    this.#path = path;
    // Without a log beside it nobody has the file open, and reading it leaves nothing behind.
    this.#still = !hasLog(path);
    this.#database = openDatabase(path, { readonly: true, still: this.#still });
    try {
      this.#read(() => checkSchema(this.#database, path));
      this.#events = this.#database.query(
        `SELECT n, source, id, type, time_ms, recorded_ms, body FROM events
          WHERE n > ? AND n <= ? ORDER BY n LIMIT ?`,
      );
      this.#times = this.#database.query(
        "SELECT n, recorded_ms FROM events WHERE n < ? ORDER BY n DESC LIMIT ?",
      );
      this.#runs = this.#database.query(
        `SELECT n, id, coalesce(rule, starter_by) AS rule, pipeline, event_n, params, created_ms FROM runs
          WHERE n > ? AND starter_kind = 'rule' AND event_n >= ? ORDER BY n LIMIT ?`,
      );
    } catch (error) {
      this.#database.close();
      throw this.#told(error);
    }
  }

  close(): void {
    this.#database.close();
  }

  /** Throws `busy` when somebody has begun to write since, so that what was read may not fit together. */
  checkStill(): void {
    if (!this.#still || !hasLog(this.#path)) return;
    const message = `${this.#path} was opened for writing while it was being read (its agent was started): ask again`;
    throw new HoldfastError("busy", message);
  }

  /** Numbers of the first and the last event; null when there is none. */
  bounds(): { first: number; last: number } | null {
    const row = this.#row("SELECT min(n) AS first, max(n) AS last FROM events");
    return row.last === null ? null : { first: row.first as number, last: row.last as number };
  }

  /** When the store came into being. */
  beganMs(): number | null {
    return (this.#row("SELECT min(began_ms) AS began FROM epochs").began as number | null) ?? null;
  }

  /** In the order of their commits. */
  events(after: number, to: number, limit: number): PastEvent[] {
    const rows = this.#read(() => this.#events.values(after, to, limit)) as EventCells[];
    return rows.map((cells) => pastEvent(cells, (n) => this.#source(n)));
  }

  /** Numbers and times of the events before one, backwards. */
  timesBefore(n: number, limit: number): [n: number, recordedMs: number][] {
    return this.#read(() => this.#times.values(n, limit)) as [number, number][];
  }

  /** The event's JSON as it was committed. */
  body({ source, id, type, stored }: PastEvent): string {
    return wholeBody(source, id, type, stored);
  }

  event(n: number): PastEvent | null {
    return this.events(n - 1, n, 1)[0] ?? null;
  }

  /** Events of one source and type, in the order of their commits. */
  eventsOf(source: string, type: string): PastEvent[] {
    const rows = this.#read(() =>
      this.#database
        .query(
          `SELECT n, source, id, type, time_ms, recorded_ms, body FROM events
            WHERE source = (SELECT n FROM sources WHERE name = ?) AND type = ? ORDER BY n DESC LIMIT ${MAX_JUMPS}`,
        )
        .values(source, type),
    ) as EventCells[];
    return rows.toReversed().map((cells) => pastEvent(cells, () => source));
  }

  /** Runs that rules started for events from `fromEvent` on, in the order of their commits. */
  runs(after: number, fromEvent: number, limit: number): PastRun[] {
    const rows = this.#read(() => this.#runs.all(after, fromEvent, limit)) as SqlRow[];
    return rows.map(pastRun);
  }

  /**
   * The event from which on no run has been deleted yet; 0 when none was at all. Numbers of runs have no gaps but for those
   * that were deleted, and the newest run always stays.
   */
  runsKeptFrom(): number {
    const { n } = this.#row(
      `SELECT max(n) AS n FROM runs AS run
        WHERE n > 1 AND NOT EXISTS (SELECT 1 FROM runs WHERE n = run.n - 1)`,
    );
    if (n === null) return 0;
    const row = this.#row("SELECT min(event_n) AS n FROM runs WHERE n >= ?", n as number);
    // The same event may have had a run before this one.
    return row.n === null ? Infinity : (row.n as number) + 1;
  }

  /** Findings that were open at this wall time. */
  findingsOpenAt(wallMs: number, limit: number): FindingRow[] {
    const rows = this.#all(
      `SELECT * FROM findings WHERE first_ms < ?1 AND (state <> 'resolved' OR resolved_ms >= ?1) ORDER BY n LIMIT ?2`,
      wallMs,
      limit,
    );
    return rows.map(findingFromRow);
  }

  /** How often a finding was raised until now. */
  findingCount(id: string): number | null {
    const row = this.#row("SELECT max(count) AS count FROM findings WHERE id = ?", id);
    return row.count as number | null;
  }

  /** What the memory holds of a namespace now. */
  memory(namespace: string): { key: string; expiresMs: number | null; value: Json }[] {
    return this.#all("SELECT key, expires_ms, value FROM memory WHERE namespace = ?", namespace).map(
      (row) => ({
        key: row.key as string,
        expiresMs: row.expires_ms as number | null,
        value: fromJson(row.value),
      }),
    );
  }

  /** What people have set; the values of secret ones are not here. */
  parameters(): SetParameter[] {
    return this.#all("SELECT * FROM parameters").map((row) =>
      parameterFromRow(row as unknown as ParameterRow),
    );
  }

  /** What people had silenced, those that are over among it. */
  silences(): Silence[] {
    if (schemaVersion(this.#database) < SILENCES_SCHEMA) return [];
    return this.#all("SELECT * FROM silences ORDER BY n").map((row) =>
      silenceFromRow(row as unknown as SilenceRow),
    );
  }

  #source(n: number): string {
    let name = this.#sources.get(n);
    if (name === undefined) {
      name = (this.#row("SELECT max(name) AS name FROM sources WHERE n = ?", n).name as string | null) ?? "";
      this.#sources.set(n, name);
    }
    return name;
  }

  #all(sql: string, ...values: (string | number)[]): SqlRow[] {
    return this.#read(() => this.#database.query(sql).all(...values) as SqlRow[]);
  }

  #row(sql: string, ...values: (string | number)[]): SqlRow {
    return this.#read(() => this.#database.query(sql).get(...values) as SqlRow);
  }

  #read<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      this.checkStill();
      throw this.#told(error);
    }
  }

  #told(error: unknown): HoldfastError {
    return storageError(error, `cannot read the store ${this.#path}`);
  }
}
