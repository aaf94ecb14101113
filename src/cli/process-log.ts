import type { Clock } from "../core/clock.ts";
import { openLogFile } from "../core/log-file.ts";
import { createLogger, type Logger, type LogLevel, type LogSink } from "../core/logger.ts";

/** What a reader of standard error gets to take the last lines. */
const LAST_LINES_MS = 1_000;

export interface ProcessLogOptions {
  path: string;
  level: LogLevel;
  maxBytes: number;
  maxFiles: number;
  clock: Clock;
  component: string;
  /** Fields of every line. */
  base?: Record<string, unknown>;
  /** Applied to every line. */
  mask?: (text: string) => string;
}

/** The log of a long-running command: JSON lines to its rotated file and to stderr. */
export function openProcessLog(options: ProcessLogOptions): {
  log: Logger;
  dropped(): number;
  close(): Promise<void>;
} {
  const { path, maxBytes, maxFiles, clock, mask = (text: string) => text } = options;
  const wall = () => clock.wall();
  const file = openLogFile({ path, maxBytes, maxFiles, wall });
  const stderr = standardError();
  const log = createLogger(
    {
      sinks: [file, stderr].map((sink) => maskedSink(sink, mask)),
      level: () => options.level,
      wall,
      base: options.base,
    },
    options.component,
  );
  const close = async () => {
    await file.close();
    await Promise.race([stderr.flush(), clock.sleep(LAST_LINES_MS)]);
  };
  return { log, dropped: () => file.dropped(), close };
}

/** Without Node's streams, which would be 0.4 MB of an idle agent. A reader that has gone costs its lines, nothing else. */
function standardError(): LogSink & { flush(): Promise<unknown> } {
  const writer = Bun.stderr.writer();
  let told: Promise<unknown> = Promise.resolve();
  const lost = () => {};
  return {
    write(line) {
      try {
        Promise.resolve(writer.write(`${line}\n`)).catch(lost);
        told = Promise.resolve(writer.flush()).catch(lost);
      } catch {
        // A broken pipe is told in either way.
      }
    },
    flush: () => told,
  };
}

function maskedSink(sink: LogSink, mask: (text: string) => string): LogSink {
  return { write: (line, level) => sink.write(mask(line), level) };
}
