import type { Database, SQLQueryBindings } from "bun:sqlite";
import { HoldfastError } from "../../core/errors.ts";
import { SEVERITIES } from "../../model/event.ts";
import type { FindingFilter } from "../../model/finding.ts";
import type { FindingRow, RuleChanges, RuleStateRow, WindowEntryRow } from "../../model/rule.ts";
import type { WriteGate } from "../../storage/write-gate.ts";
import type { KeyValues } from "./key-values.ts";
import { packMemory } from "./pack-memory.ts";
import { fromJson, type SqlRow, toJson } from "./run-columns.ts";
import type { StoreTime } from "./store-time.ts";
import { damagedText } from "./stored-json.ts";

const VERSION = "rule_version";
const UNRESOLVED = "state IN ('open', 'acknowledged')";
/** Characters of an id that are enough to name a finding. */
const SHORTEST_ID = 4;
const SEVERITY_RANK = `CASE severity ${SEVERITIES.map((name, rank) => `WHEN '${name}' THEN ${rank}`).join(" ")} END`;

/** What rules remember (states and window entries, by the identity of a rule) and what they have found. */
export class RuleRows {
  readonly #database: Database;
  readonly #values: KeyValues;
  readonly #putState;
  readonly #dropState;
  readonly #addEntry;
  readonly #expire;
  readonly #putFinding;
  readonly #forgetStates;
  readonly #forgetEntries;
  readonly #trimFindings;
  /** Commits that were computed from what rules remember; written once a transaction. */
  #version = 0;
  #counted = false;
  readonly #time: StoreTime;
  #resolved: number | undefined;

  constructor(database: Database, gate: WriteGate, values: KeyValues, time: StoreTime) {
    this.#database = database;
    this.#values = values;
    this.#time = time;
    const prepare = (label: string, sql: string) => gate.prepare(database, label, sql);
    this.#putState = prepare(
      "rule_states.put",
      `INSERT INTO rule_states (rule, key, body) VALUES (?, ?, ?)
        ON CONFLICT (rule, key) DO UPDATE SET body = excluded.body`,
    );
    this.#dropState = prepare("rule_states.drop", "DELETE FROM rule_states WHERE rule = ? AND key = ?");
    this.#addEntry = prepare(
      "window_entries.insert",
      "INSERT INTO window_entries (rule, key, at_ms, value) VALUES (?, ?, ?, ?)",
    );
    this.#expire = prepare(
      "window_entries.expire",
      "DELETE FROM window_entries WHERE rule = ? AND at_ms < ?",
    );
    this.#putFinding = prepare(
      "findings.put",
      `INSERT INTO findings (id, rule, key, severity, title, data, state, count, first_ms, last_ms, resolved_ms, extra,
          over_ms)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (id) DO UPDATE SET rule = excluded.rule, key = excluded.key, severity = excluded.severity,
          title = excluded.title, data = excluded.data, state = excluded.state, count = excluded.count,
          first_ms = excluded.first_ms, last_ms = excluded.last_ms, resolved_ms = excluded.resolved_ms,
          extra = excluded.extra,
          over_ms = CASE WHEN excluded.over_ms IS NULL THEN NULL ELSE coalesce(over_ms, excluded.over_ms) END`,
    );
    const others = "rule NOT IN (SELECT value FROM json_each(?))";
    this.#forgetStates = prepare("rule_states.forget", `DELETE FROM rule_states WHERE ${others}`);
    this.#forgetEntries = prepare("window_entries.forget", `DELETE FROM window_entries WHERE ${others}`);
    this.#trimFindings = prepare(
      "findings.trim",
      `DELETE FROM findings WHERE n IN
        (SELECT n FROM findings WHERE over_ms IS NOT NULL AND over_ms < ? ORDER BY over_ms, n LIMIT ?)`,
    );
  }

  load(): void {
    this.#version = (this.#values.meta(VERSION) as number | undefined) ?? 0;
    this.#resolved = undefined;
    this.#counted = false;
  }

  flush(): void {
    if (this.#counted) this.#values.setMeta(VERSION, this.#version);
    this.#counted = false;
  }

  /** Refuses changes that were computed from another memory than this. Before anything of their commit is written. */
  check({ version }: RuleChanges): void {
    if (version === undefined || version === this.#version) return;
    const message = `these changes of rules build on commit ${version} of their memory, and the store is at ${this.#version}: read the memory again`;
    throw new HoldfastError("conflict", message, { retryable: true });
  }

  change({ version, states, entries, expire, findings }: RuleChanges): void {
    if (version !== undefined) {
      this.#version++;
      this.#counted = true;
    }
    for (const state of states) this.putState(state);
    for (const entry of entries) this.addEntry(entry);
    for (const { rule, beforeMs } of expire) this.#expire(rule, beforeMs);
    for (const finding of findings) this.putFinding(finding);
  }

  putState({ rule, key, body }: RuleStateRow): void {
    if (body === null) this.#dropState(rule, key);
    else this.#putState(rule, key, JSON.stringify(body));
  }

  addEntry({ rule, key, atMs, value }: WindowEntryRow): void {
    this.#addEntry(rule, key, atMs, value);
  }

  putFinding(finding: FindingRow): void {
    const { id, rule, key, severity, title, data, state, count, firstMs, lastMs, resolvedMs } = finding;
    const extra = finding.extra === undefined ? null : JSON.stringify(finding.extra);
    const texts = [id, rule, key, severity, title, toJson(data), state] as const;
    const overMs = state === "resolved" ? this.#time.trustedMs : null;
    this.#putFinding(...texts, count, firstMs, lastMs, resolvedMs, extra, overMs);
    this.#resolved = undefined;
  }

  /** As `packMemory` makes it. Findings of rules that are gone stay: they are for people to look at. */
  memory(keep: string[]): string {
    const kept = JSON.stringify(keep);
    this.#forgetStates(kept);
    this.#forgetEntries(kept);
    if (this.#database.query("SELECT 1 FROM rule_states WHERE NOT json_valid(body) LIMIT 1").get())
      throw damagedText();
    return packMemory({
      states: this.#database.query("SELECT rule, key, body FROM rule_states ORDER BY n").values(),
      entries: this.#database.query("SELECT rule, key, at_ms, value FROM window_entries ORDER BY n").values(),
      openFindings: this.#unresolved(),
      version: this.#version,
    });
  }

  #unresolved(): FindingRow[] {
    const query = this.#database.query(`SELECT * FROM findings WHERE ${UNRESOLVED} ORDER BY n DESC`);
    return (query.all() as SqlRow[]).map(findingFromRow);
  }

  /** The newest first, or the most severe. */
  findings(filter: FindingFilter, limit: number): FindingRow[] {
    const conditions = ["TRUE"];
    const params: SQLQueryBindings[] = [];
    const add = (condition: string, value: SQLQueryBindings | undefined) => {
      if (value === undefined) return;
      conditions.push(condition);
      params.push(value);
    };
    if (filter.state === "unresolved") conditions.push(UNRESOLVED);
    else add("state = ?", filter.state);
    add("severity = ?", filter.severity);
    add("rule = ?", filter.rule);
    add("last_ms >= ?", filter.sinceMs);
    add("n < (SELECT n FROM findings WHERE id = ?)", filter.before);
    if (filter.before !== undefined && this.finding(filter.before) === null) {
      throw new HoldfastError("not_found", `finding ${filter.before} is gone: begin the list anew`);
    }
    const order = filter.order === "severity" ? `${SEVERITY_RANK} DESC, n DESC` : "n DESC";
    const query = this.#database.query(
      `SELECT * FROM findings WHERE ${conditions.join(" AND ")} ORDER BY ${order} LIMIT ?`,
    );
    return (query.all(...params, limit) as SqlRow[]).map(findingFromRow);
  }

  /** By id, or by an unambiguous end or beginning of one. */
  finding(id: string): FindingRow | null {
    const exact = this.#database.query("SELECT * FROM findings WHERE id = ?").get(id) as SqlRow | null;
    if (exact) return findingFromRow(exact);
    if (id.length < SHORTEST_ID) return null;
    const query = this.#database.query(
      "SELECT * FROM findings WHERE substr(id, 1, ?1) = ?2 OR substr(id, -?1) = ?2 LIMIT 2",
    );
    const rows = query.all(id.length, id) as SqlRow[];
    if (rows.length > 1)
      throw new HoldfastError("conflict", `several findings fit ${id}: give more of the id`);
    return rows.length === 0 ? null : findingFromRow(rows[0]!);
  }

  /** Findings that are not over. */
  unresolved(): number {
    return this.#countWhere(UNRESOLVED);
  }

  resolved(): number {
    this.#resolved ??= this.#countWhere("over_ms IS NOT NULL");
    return this.#resolved;
  }

  /** When the one was resolved that is over for longest, by the host's clock. */
  oldestResolvedMs(): number | null {
    const query =
      "SELECT resolved_ms AS ms FROM findings WHERE over_ms IS NOT NULL ORDER BY over_ms, n LIMIT 1";
    return (this.#database.query(query).get() as { ms: number | null } | null)?.ms ?? null;
  }

  /** How many were resolved before `ms` of trusted time, as far as `limit`. */
  resolvedBefore(ms: number, limit: number): number {
    const aged = "SELECT 1 FROM findings WHERE over_ms IS NOT NULL AND over_ms < ? LIMIT ?";
    const row = this.#database.query(`SELECT count(*) AS count FROM (${aged})`).get(ms, limit);
    return (row as { count: number }).count;
  }

  /** Forgets those that were resolved before `ms`, the oldest first; gives how many. */
  trim(ms: number, rows: number): number {
    this.#resolved = undefined;
    return this.#trimFindings(ms, rows);
  }

  #countWhere(condition: string): number {
    const row = this.#database.query(`SELECT count(*) AS count FROM findings WHERE ${condition}`).get();
    return (row as { count: number }).count;
  }
}

export function stateFromRow(row: SqlRow): RuleStateRow {
  return { rule: row.rule as string, key: row.key as string, body: fromJson(row.body) };
}

export function findingFromRow(row: SqlRow): FindingRow {
  const extra = row.extra == null ? {} : { extra: fromJson(row.extra) as FindingRow["extra"] & object };
  return {
    id: row.id as string,
    rule: row.rule as string,
    key: row.key as string,
    severity: row.severity as FindingRow["severity"],
    title: row.title as string,
    data: fromJson(row.data),
    state: row.state as FindingRow["state"],
    count: row.count as number,
    firstMs: row.first_ms as number,
    lastMs: row.last_ms as number,
    resolvedMs: row.resolved_ms as number | null,
    ...extra,
  };
}
