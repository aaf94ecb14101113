import type { JsonObject } from "../../model/json.ts";
import { numberOrNull } from "./agents.ts";
import type { Row, Value } from "./database.ts";
import type { EventFilter, EventView, RunFilter, RunView } from "./port.ts";
import type { RunDetails } from "./projection.ts";

export interface Statement {
  text: string;
  values: Value[];
}

/** Conditions joined by AND; those whose value is undefined are left out. */
function where(conditions: [text: string, value: Value | undefined][]): Statement {
  const used = conditions.filter(([, value]) => value !== undefined);
  const text = used.map(([condition]) => condition).join(" AND ");
  return { text: text === "" ? "" : `WHERE ${text}`, values: used.map(([, value]) => value as Value) };
}

export function eventsStatement(filter: EventFilter): Statement {
  const { text, values } = where([
    ["e.agent = ?", filter.agent],
    ["e.type = ?", filter.type],
    ["e.source = ?", filter.source],
    ["e.severity = ?", filter.severity],
    ["e.n < ?", filter.before],
    ["e.n > ?", filter.after],
  ]);
  const order = filter.after === undefined ? "DESC" : "ASC";
  return {
    text: `SELECT e.n, e.agent, e.source, e.id, e.type, e.subject, e.severity, e.time, r.received, r.body
      FROM events e JOIN records r ON r.stream = e.stream AND r.number = e.number
      ${text} ORDER BY e.n ${order} LIMIT ?`,
    values: [...values, filter.limit],
  };
}

export function eventOf(row: Row): EventView {
  return {
    n: Number(row.n),
    agent: row.agent as string,
    source: row.source as string,
    id: row.id as string,
    type: row.type as string,
    subject: row.subject as string | null,
    severity: row.severity as string | null,
    time: row.time as string,
    receivedMs: Number(row.received),
    event: JSON.parse(new TextDecoder().decode(row.body as Uint8Array)) as JsonObject,
  };
}

const RUN_COLUMNS =
  "n, agent, id, pipeline, rule, state, reason, event_source, event_id, created, started, ended, steps, details";

export function runsStatement(filter: RunFilter): Statement {
  const { text, values } = where([
    ["agent = ?", filter.agent],
    ["pipeline = ?", filter.pipeline],
    ["state = ?", filter.state],
  ]);
  const slash = filter.before?.lastIndexOf("/") ?? -1;
  const before = filter.before?.slice(0, slash);
  const page = before === undefined ? "" : `${text === "" ? "WHERE" : "AND"} (id, agent) < (?, ?)`;
  const cursor = before === undefined ? [] : [before, filter.before!.slice(slash + 1)];
  return {
    text: `SELECT ${RUN_COLUMNS} FROM runs ${text} ${page} ORDER BY id DESC, agent DESC LIMIT ?`,
    values: [...values, ...cursor, filter.limit],
  };
}

export function runsChangedStatement(n: number, limit: number): Statement {
  return { text: `SELECT ${RUN_COLUMNS} FROM runs WHERE n > ? ORDER BY n LIMIT ?`, values: [n, limit] };
}

export function runStatement(agent: string | undefined, id: string): Statement {
  const { text, values } = where([
    ["id = ?", id],
    ["agent = ?", agent],
  ]);
  return { text: `SELECT ${RUN_COLUMNS} FROM runs ${text} ORDER BY agent LIMIT 1`, values };
}

export function runsMatchingStatement(agent: string | undefined, part: string, limit: number): Statement {
  return {
    text: `SELECT ${RUN_COLUMNS} FROM runs WHERE (id LIKE ? OR id LIKE ?) ${agent === undefined ? "" : "AND agent = ?"}
      ORDER BY id DESC, agent DESC LIMIT ?`,
    values: [`${part}%`, `%${part}`, ...(agent === undefined ? [] : [agent]), limit],
  };
}

export function runOf(row: Row): RunView {
  const details = typeof row.details === "string" ? (JSON.parse(row.details) as RunDetails) : {};
  return {
    n: Number(row.n),
    agent: row.agent as string,
    id: row.id as string,
    pipeline: row.pipeline as string,
    rule: row.rule as string | null,
    state: row.state as string,
    reason: row.reason as string | null,
    event:
      row.event_source === null ? null : { source: row.event_source as string, id: row.event_id as string },
    createdMs: Number(row.created),
    startedMs: numberOrNull(row.started),
    endedMs: numberOrNull(row.ended),
    starter: details.starter ?? null,
    parent: details.parent ?? null,
    retryOf: details.retryOf ?? null,
  };
}
