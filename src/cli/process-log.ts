import type { Clock } from "../core/clock.ts";
import { openLogFile } from "../core/log-file.ts";
import { createLogger, type Logger, type LogLevel, type LogSink } from "../core/logger.ts";

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
  const stderr = { write: (line: string) => void process.stderr.write(`${line}\n`) };
  const log = createLogger(
    {
      sinks: [file, stderr].map((sink) => maskedSink(sink, mask)),
      level: () => options.level,
      wall,
      base: options.base,
    },
    options.component,
  );
  return { log, dropped: () => file.dropped(), close: () => file.close() };
}

function maskedSink(sink: LogSink, mask: (text: string) => string): LogSink {
  return { write: (line, level) => sink.write(mask(line), level) };
}
