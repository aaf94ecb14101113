import { isoTime } from "../../core/iso-time.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { FindingChange } from "../../model/finding.ts";
import type { JsonObject } from "../../model/json.ts";
import { LATER_TRIGGER } from "../../model/schedule-later.ts";
import { SCHEDULE_PREFIX } from "../../model/schedule.ts";
import type { PastEvent } from "./ports.ts";

/** Whether the trigger gave the event its time: else it is that of its arrival. Those of schedules count as they arrive. */
export function isTimedBy(trigger: string, event: CloudEvent, { timeMs }: PastEvent): boolean {
  if (trigger === LATER_TRIGGER || trigger.startsWith(SCHEDULE_PREFIX)) return false;
  return event.time !== isoTime(timeMs);
}

/** What a person did, by the event that tells of it. */
export function changeOf({ type, data }: CloudEvent, by: string): FindingChange | null {
  const { text, reason, falsePositive } = data as JsonObject;
  const words = (value: unknown) => (typeof value === "string" ? value : "");
  switch (type) {
    case "finding.acknowledged":
      return { kind: "acknowledge", by };
    case "finding.noted":
      return { kind: "note", by, text: words(text) };
    case "finding.resolved":
      return { kind: "resolve", by, falsePositive: falsePositive === true, reason: words(reason) };
    default:
      return null;
  }
}
