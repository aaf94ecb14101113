import { ISO_TIMESTAMP_REGEX } from "valibot";
import { SEVERITIES } from "../../model/event.ts";

const EVENT_TYPE = /^[\w.:/-]+$/;
const SEVERITY_SET: ReadonlySet<unknown> = new Set(SEVERITIES);

/**
 * What is wrong with a proposed event, or null: says the same as `proposedEventSchema` on anything that came out of
 * JSON. Unknown keys are let through; whoever keeps the event copies the known ones.
 */
export function proposedEventProblem(value: unknown): string | null {
  if (typeof value !== "object" || value === null) return "not an object";
  const event = value as Record<string, unknown>;
  const { type, id, subject, time, severity } = event;
  if (typeof type !== "string" || type.length === 0 || type.length > 256) {
    return "`type` must be a text of 1 to 256 characters";
  }
  if (!EVENT_TYPE.test(type)) return "`type` has letters, digits and . _ - : / only";
  if (id !== undefined && (typeof id !== "string" || id.length === 0 || id.length > 256)) {
    return "`id` must be a text of 1 to 256 characters";
  }
  if (
    subject !== undefined &&
    (typeof subject !== "string" || subject.length === 0 || subject.length > 1024)
  ) {
    return "`subject` must be a text of 1 to 1024 characters";
  }
  if (time !== undefined && (typeof time !== "string" || !ISO_TIMESTAMP_REGEX.test(time))) {
    return "`time` must be an RFC 3339 timestamp";
  }
  if (severity !== undefined && !SEVERITY_SET.has(severity)) {
    return `\`severity\` must be one of ${SEVERITIES.join(", ")}`;
  }
  return null;
}
