import { join } from "node:path";
import type { Json, JsonObject } from "../../model/json.ts";
import { isObject } from "../../model/settings-schema.ts";

/** A line that a plugin logged in an attempt of a step. */
export interface LoggedLine {
  step: string;
  attempt: number;
  /** RFC 3339. */
  time: string;
  level: string;
  /** `stdout` or `stderr`; null for one that it logged itself. */
  stream: string | null;
  text: string;
  fields: unknown;
}

export interface LoggedLines {
  lines: LoggedLine[];
  /** False where older lines may be gone, or were not looked at. */
  complete: boolean;
}

/** Of the files of one plugin so much is read, the newest first. */
const MAX_BYTES = 32 * 1024 * 1024;
/** Lines of a run that are told, the newest. */
const MAX_LINES = 5000;

/** Of several plugins, in the order of their times. */
export async function linesOfPlugins(
  folder: string,
  plugins: string[],
  run: string,
  sinceMs: number,
): Promise<LoggedLines> {
  const lines: LoggedLine[] = [];
  let complete = true;
  for (const plugin of plugins) {
    const found = await pluginLines(join(folder, `${plugin}.log`), run, sinceMs);
    lines.push(...found.lines);
    complete &&= found.complete;
  }
  // Stable: what one plugin says within a millisecond stays in its order.
  return { lines: lines.toSorted((a, b) => a.time.localeCompare(b.time)), complete };
}

/** Lines of one run in a plugin's log (`path`, and `path.1` … which were rotated), the oldest first. */
export async function pluginLines(path: string, run: string, sinceMs: number): Promise<LoggedLines> {
  const lines: LoggedLine[] = [];
  let room = MAX_BYTES;
  for (let n = 0; ; n++) {
    const file = Bun.file(n === 0 ? path : `${path}.${n}`);
    // Where nothing was rotated away there was nothing before.
    if (!(await file.exists())) return { lines, complete: n <= 1 };
    const taken = Math.min(room, file.size);
    const text = await file.slice(file.size - taken).text();
    lines.unshift(...linesOf(text, run));
    room -= taken;
    if (lines.length > MAX_LINES) return { lines: lines.slice(-MAX_LINES), complete: false };
    if (firstTime(text) <= sinceMs) return { lines, complete: true };
    if (taken < file.size || room === 0) return { lines, complete: false };
  }
}

function linesOf(text: string, run: string): LoggedLine[] {
  const found: LoggedLine[] = [];
  const mark = `"run":${JSON.stringify(run)}`;
  for (let at = text.indexOf(mark); at !== -1;) {
    const from = text.lastIndexOf("\n", at) + 1;
    const end = text.indexOf("\n", at);
    const line = lineOf(text.slice(from, end === -1 ? undefined : end), run);
    if (line !== null) found.push(line);
    at = end === -1 ? -1 : text.indexOf(mark, end);
  }
  return found;
}

/** Null for a line that only speaks of the run. */
function lineOf(json: string, run: string): LoggedLine | null {
  const told = objectIn(json);
  if (told?.run !== run || typeof told.step !== "string" || typeof told.attempt !== "number") return null;
  const { stream, ...fields } = isObject(told.fields) ? told.fields : {};
  return {
    ...{ step: told.step, attempt: told.attempt, time: String(told.time), level: String(told.level) },
    stream: stream === "stdout" || stream === "stderr" ? stream : null,
    text: String(told.message),
    fields: Object.keys(fields).length > 0 ? fields : null,
  };
}

/** Of the first whole line. */
function firstTime(text: string): number {
  for (const line of text.split("\n", 3)) {
    const time = Date.parse(String(objectIn(line)?.time));
    if (!Number.isNaN(time)) return time;
  }
  return Infinity;
}

function objectIn(json: string): JsonObject | null {
  try {
    const value = JSON.parse(json) as Json;
    return isObject(value) ? value : null;
  } catch {
    // A line that was cut, or is being written.
    return null;
  }
}
