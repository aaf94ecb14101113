import type { Clock } from "../../core/clock.ts";
import { createLogger, type LogLevel, type LogSink } from "../../core/logger.ts";
import type { JsonObject } from "../../model/json.ts";
import type { WorkerPipe } from "./launch.ts";

/** Longest line of a worker's stdout or stderr that is kept, in bytes; the rest of the line is dropped. */
export const MAX_LINE_BYTES = 8 * 1024;
/** Lines a second that a worker may log in the long run, and how many at once. */
const LINES_PER_SECOND = 200;
const BURST_LINES = 1000;
/** Span in which `maxBytes` may be written. */
const WINDOW_MS = 60_000;

/** An attempt of a step, as it stands in a line of a plugin's log. */
export interface CallMark {
  run: string;
  step: string;
  attempt: number;
}

export interface PluginOutput {
  /** `of`: the call that it is said in; `holdfast runs logs` finds it by that. */
  line(level: LogLevel, message: string, fields?: JsonObject, of?: CallMark): void;
  /** Reads a worker's pipe line by line to its end, or until the signal aborts. */
  pipe(stream: WorkerPipe, name: "stdout" | "stderr", signal: AbortSignal): Promise<void>;
}

export interface PluginOutputOptions {
  sink: LogSink;
  part: string;
  clock: Clock;
  /** For one whose pipes are read here. */
  limit?: OutputLimit;
}

export interface OutputLimit {
  /** Bytes of stdout and stderr together that it may write in a minute. */
  maxBytes: number;
  /** Called when it wrote more. */
  tooMuch(text: string): void;
}

/** All that a worker says, as masked JSON lines in the plugin's log, with a limit on line length and rate. */
export function pluginOutput(options: PluginOutputOptions): PluginOutput {
  const { clock, part, limit } = options;
  const log = createLogger({ sinks: [options.sink], level: () => "debug", wall: () => clock.wall() }, part);
  let budget = BURST_LINES;
  let refilledAt = clock.mono();
  let dropped = 0;
  let windowFrom = clock.mono();
  let bytes = 0;

  const count = (size: number) => {
    const now = clock.mono();
    if (now - windowFrom >= WINDOW_MS) {
      windowFrom = now;
      bytes = 0;
    }
    bytes += size;
    if (limit && bytes > limit.maxBytes) {
      limit.tooMuch(`output: more than ${limit.maxBytes} bytes within ${WINDOW_MS / 1000} s`);
    }
  };
  const line = (level: LogLevel, message: string, fields?: JsonObject, of?: CallMark) => {
    const now = clock.mono();
    budget = Math.min(BURST_LINES, budget + ((now - refilledAt) * LINES_PER_SECOND) / 1000);
    refilledAt = now;
    if (budget < 1) {
      dropped++;
      return;
    }
    budget--;
    if (dropped > 0) {
      log.warn("the plugin logs too fast; lines were dropped", { dropped });
      dropped = 0;
    }
    log[level](message, { ...boundedFields(fields), ...of });
  };
  return {
    line,
    async pipe(stream, name, signal) {
      const level = name === "stderr" ? "warn" : "info";
      await eachLine(stream, signal, count, (text) => line(level, text, { stream: name }));
      if (dropped > 0) log.warn("the plugin logged too fast; lines were dropped", { dropped });
    },
  };
}

/** Fields that would make a huge line are replaced by a note; names of the line itself cannot be forged. */
function boundedFields(fields: JsonObject | undefined): Record<string, unknown> | undefined {
  if (fields === undefined) return undefined;
  const size = JSON.stringify(fields).length;
  return size > MAX_LINE_BYTES ? { fields: `dropped: ${size} bytes` } : { fields };
}

async function eachLine(
  stream: WorkerPipe,
  signal: AbortSignal,
  onBytes: (size: number) => void,
  onLine: (text: string) => void,
): Promise<void> {
  let parts: Uint8Array[] = [];
  let size = 0;
  const keep = (part: Uint8Array) => {
    const room = MAX_LINE_BYTES - size;
    if (room > 0 && part.length > 0) parts.push(part.subarray(0, room));
    size += part.length;
  };
  const finish = () => {
    if (size > 0) {
      const text = Buffer.concat(parts).toString("utf8");
      onLine(size > MAX_LINE_BYTES ? `${text}… (${size} bytes, cut)` : text);
    }
    parts = [];
    size = 0;
  };
  const reader = stream.getReader();
  // A process that the plugin set loose may hold the pipe open for ever.
  signal.addEventListener("abort", () => void reader.cancel().catch(() => {}), { once: true });
  try {
    for (;;) {
      const { value: chunk, done } = await reader.read();
      if (done) break;
      onBytes(chunk.length);
      let from = 0;
      for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
        keep(chunk.subarray(from, end));
        finish();
        from = end + 1;
      }
      keep(chunk.subarray(from));
    }
  } catch {
    // The pipe broke with the process; what came is kept.
  }
  finish();
}
