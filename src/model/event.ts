import type { Json } from "./json.ts";

/** Severities of the `severity` extension, lowest first. */
export const SEVERITIES = ["debug", "info", "notice", "warning", "error", "critical"] as const;
export type Severity = (typeof SEVERITIES)[number];

/**
 * A CloudEvents 1.0 envelope (JSON format). `source` + `id` is unique and is the dedupe key. `time` is RFC 3339.
 * Extensions: `severity`, `causationid` (the event that led to this one), `hops` (0 for a first cause), `traceparent`,
 * `silenced` (of a finding's event: the silence that keeps it from people).
 */
export interface CloudEvent {
  specversion: "1.0";
  id: string;
  source: string;
  type: string;
  time: string;
  subject?: string;
  datacontenttype?: "application/json";
  data?: Json;
  severity?: Severity;
  causationid?: string;
  hops?: number;
  traceparent?: string;
  silenced?: string;
}

/** What a plugin may say about an event; the agent adds source, id and time where they are missing. */
export interface ProposedEvent {
  type: string;
  /** Unique within the trigger; give one that is stable over restarts to have repeats dropped. */
  id?: string;
  subject?: string;
  /** RFC 3339. */
  time?: string;
  data?: Json;
  severity?: Severity;
}

/** `source` of a trigger's events: two agents' triggers never collide. */
export function eventSource(agentId: string, trigger: string): string {
  return `urn:holdfast:agent:${agentId}/${trigger}`;
}

/** The largest envelope, in bytes of JSON, that an agent accepts by default. */
export const MAX_EVENT_BYTES = 256 * 1024;
