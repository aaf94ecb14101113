import { HoldfastError } from "../../../core/errors.ts";
import type { ProposedEvent } from "../../../model/event.ts";
import type { Json, JsonObject } from "../../../model/json.ts";
import { proposedEventProblem } from "../proposed-event.ts";
import { own, parseObject } from "./json-line.ts";

const EVENT_KEYS = ["type", "id", "subject", "time", "data", "severity"] as const;

export interface EventLine {
  events: ProposedEvent[];
  checkpoint: Json | undefined;
}

/**
 * What a line of a trigger says: an event (it has a `type`), or `{ events, checkpoint }`. Null for anything else, which is
 * its log, and for what says nothing. Throws `invalid` for something that is meant to be an event and is none: it must not get lost in a log.
 */
export function readEventLine(line: string): EventLine | null {
  const object = parseObject(line);
  if (object === undefined) return null;
  const [events, checkpoint] = [own(object, "events"), own(object, "checkpoint")];
  if (Array.isArray(events) && (events.length > 0 || checkpoint !== undefined)) {
    return { events: events.map(eventOf), checkpoint };
  }
  if (own(object, "type") !== undefined) return { events: [eventOf(object)], checkpoint: undefined };
  return checkpoint === undefined ? null : { events: [], checkpoint };
}

function eventOf(value: Json): ProposedEvent {
  const problem = proposedEventProblem(value);
  if (problem !== null) throw new HoldfastError("invalid", `an invalid event: ${problem}`);
  const event: JsonObject = {};
  for (const key of EVENT_KEYS) {
    const given = own(value as JsonObject, key);
    if (given !== undefined) event[key] = given;
  }
  return event as unknown as ProposedEvent;
}
