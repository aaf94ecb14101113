import type { Json, JsonObject } from "../../model/json.ts";

/** The programs of most operations say nothing that is worth keeping when they succeed. */
export function readNothing(): Json {
  return {};
}

/** `Key=value` lines of `systemctl show`; `ActiveState` becomes `active_state`, numbers become numbers. */
export function readProperties(stdout: string): Json {
  const found: JsonObject = {};
  for (const line of stdout.split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) found[snakeCase(line.slice(0, at))] = numberOrText(line.slice(at + 1));
  }
  return found;
}

function snakeCase(name: string): string {
  return name
    .replace(/([a-z])([A-Z])/g, "$1_$2")
    .replace(/([A-Z])([A-Z][a-z])/g, "$1_$2")
    .toLowerCase();
}

function numberOrText(text: string): Json {
  return /^\d{1,15}$/.test(text) ? Number(text) : text;
}

/** Lines of `journalctl --output=json`, oldest first. What is cut off at the end is left out. */
export function readJournal(stdout: string): Json {
  const entries = stdout.split("\n").flatMap((line) => journalEntry(line));
  return { entries };
}

function journalEntry(line: string): JsonObject[] {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return [];
  }
  if (entry === null || typeof entry !== "object") return [];
  const micros = Number(entry.__REALTIME_TIMESTAMP);
  const time = Number.isSafeInteger(micros) ? new Date(micros / 1000).toISOString() : null;
  return [
    {
      time,
      message: fieldText(entry.MESSAGE) ?? "",
      priority: entry.PRIORITY === undefined ? null : Number(entry.PRIORITY),
      identifier: fieldText(entry.SYSLOG_IDENTIFIER),
      unit: fieldText(entry._SYSTEMD_UNIT),
      pid: entry._PID === undefined ? null : Number(entry._PID),
    },
  ];
}

/** journalctl writes what is not UTF-8 as an array of bytes, a repeated field as an array of texts. */
function fieldText(value: unknown): string | null {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return null;
  if (value.every((byte) => typeof byte === "number")) return Buffer.from(value as number[]).toString("utf8");
  return fieldText(value[0]);
}
