import { isoTime } from "../../core/iso-time.ts";
import type { CloudEvent } from "../../model/event.ts";
import { LATER_TRIGGER } from "../../model/schedule-later.ts";
import { SCHEDULE_PREFIX } from "../../model/schedule.ts";
import type { PastEvent } from "./ports.ts";

/** Whether the trigger gave the event its time: else it is that of its arrival. Those of schedules count as they arrive. */
export function isTimedBy(trigger: string, event: CloudEvent, { timeMs }: PastEvent): boolean {
  if (trigger === LATER_TRIGGER || trigger.startsWith(SCHEDULE_PREFIX)) return false;
  return event.time !== isoTime(timeMs);
}
