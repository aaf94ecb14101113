import { HoldfastError } from "../../core/errors.ts";
import type { CloudEvent, ProposedEvent } from "../../model/event.ts";
import type { EventRow } from "./ports.ts";

/** What a trigger proposes as the event that is kept. */
export function envelope(source: string, item: ProposedEvent, now: string, newId: () => string): CloudEvent {
  const event: CloudEvent = {
    specversion: "1.0",
    id: item.id ?? newId(),
    source,
    type: item.type,
    time: item.time ?? now,
  };
  if (item.subject !== undefined) event.subject = item.subject;
  if (item.severity !== undefined) event.severity = item.severity;
  if (item.data !== undefined) {
    event.datacontenttype = "application/json";
    event.data = item.data;
  }
  return event;
}

export function eventRow(event: CloudEvent, body: string, timeMs: number): EventRow {
  return { source: event.source, id: event.id, type: event.type, timeMs, body };
}

/** Throws `too_large` for an event that the agent does not accept. */
export function checkedRow(event: CloudEvent, timeMs: number, maxEventBytes: number): EventRow {
  const body = JSON.stringify(event);
  if (body.length <= maxEventBytes) return eventRow(event, body, timeMs);
  throw new HoldfastError(
    "too_large",
    `event ${event.type} has ${body.length} bytes, more than limits.event_size (${maxEventBytes}): make it smaller or raise the limit`,
  );
}
