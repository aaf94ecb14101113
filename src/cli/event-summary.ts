import { plainLine } from "./plain-text.ts";

const MAX_LENGTH = 300;
/** Keys of `data` that say the most to a person, best first. */
const TELLING = ["line", "message", "title", "text", "error", "reason"];

/** What an event is about, in one line: its subject and the most telling part of its data. */
export function eventSummary(item: { subject: string | null; event: { data?: unknown } }): string {
  const text = plainLine(dataText(item.event.data));
  const shown = text.length > MAX_LENGTH ? `${text.slice(0, MAX_LENGTH)}…` : text;
  const subject = item.subject === null ? "" : plainLine(item.subject);
  return subject && shown ? `${subject}: ${shown}` : subject || shown;
}

function dataText(data: unknown): string {
  if (data === undefined || data === null) return "";
  if (typeof data === "string") return data;
  if (typeof data === "object" && !Array.isArray(data)) {
    const fields = data as Record<string, unknown>;
    for (const key of TELLING) {
      if (typeof fields[key] === "string" && fields[key] !== "") return fields[key];
    }
  }
  return JSON.stringify(data);
}
