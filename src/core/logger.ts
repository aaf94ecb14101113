import { maskText, maskValue } from "./mask.ts";

export const LOG_LEVELS = ["debug", "info", "warn", "error"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface Logger {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
  /** A logger that adds `component` to every line. */
  child(component: string): Logger;
}

/** Takes finished lines without their newline. */
export interface LogSink {
  write(line: string, level: LogLevel): void;
}

export interface LoggerOptions {
  sinks: LogSink[];
  level: () => LogLevel;
  wall: () => number;
  /** Fields of every line, such as the agent's id. */
  base?: Record<string, unknown>;
}

/** One JSON object a line: time, level, component, message and fields; secrets are masked before a sink sees them. */
export function createLogger(options: LoggerOptions, component = "main"): Logger {
  const write = (level: LogLevel, message: string, fields: Record<string, unknown> = {}) => {
    if (LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(options.level())) return;
    const time = new Date(options.wall()).toISOString();
    const masked = maskValue(fields) as Record<string, unknown>;
    const line = JSON.stringify({
      time,
      level,
      component,
      ...options.base,
      message: maskText(message),
      ...masked,
    });
    for (const sink of options.sinks) sink.write(line, level);
  };
  return {
    debug: (message, fields) => write("debug", message, fields),
    info: (message, fields) => write("info", message, fields),
    warn: (message, fields) => write("warn", message, fields),
    error: (message, fields) => write("error", message, fields),
    child: (name) => createLogger(options, name),
  };
}

/** A logger that drops everything, for tests and one-shot commands. */
export function silentLogger(): Logger {
  return createLogger({ sinks: [], level: () => "error", wall: () => 0 });
}
