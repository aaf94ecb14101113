import type { Json } from "../../model/json.ts";
import { fromJson, type SqlRow } from "./run-columns.ts";

export interface PastEvent {
  n: number;
  source: string;
  id: string;
  type: string;
  timeMs: number;
  recordedMs: number;
  /** Parsed only by whoever needs it. */
  stored: string;
}

/** A run that a rule started. */
export interface PastRun {
  n: number;
  id: string;
  rule: string;
  pipeline: string;
  eventN: number;
  params: Json;
  createdMs: number;
}

/** n, source, id, type, time_ms, recorded_ms, body: without names, because there may be millions of them. */
export type EventCells = [number, number, string, string, number, number, string];

export function pastEvent(cells: EventCells, sourceOf: (n: number) => string): PastEvent {
  const [n, source, id, type, timeMs, recordedMs, stored] = cells;
  return { n, source: sourceOf(source), id, type, timeMs, recordedMs, stored };
}

export function pastRun(row: SqlRow): PastRun {
  return {
    n: row.n as number,
    id: row.id as string,
    rule: row.rule as string,
    pipeline: row.pipeline as string,
    eventN: row.event_n as number,
    params: fromJson(row.params),
    createdMs: row.created_ms as number,
  };
}
