import { systemCode } from "../core/errors.ts";

/** Where a command writes: lines, and what the terminal can show. */
export interface Output {
  /** Resolves when the line was taken, so that a slow reader slows the writer. */
  line(text: string): Promise<void>;
  write(text: string): Promise<void>;
  /** Columns of the terminal; undefined where there is none, and nothing is cut. */
  readonly width: number | undefined;
  readonly color: boolean;
  /** Aborts when the reader has gone (`holdfast events tail | head -1`). */
  readonly closed: AbortSignal;
}

/** Colours are for terminals that do not ask to be spared (https://no-color.org). */
export function wantsColor(stream: { isTTY?: boolean }, env: Record<string, string | undefined>): boolean {
  return stream.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb";
}

export function standardOutput(env: Record<string, string | undefined>): Output {
  const closing = new AbortController();
  const stream = process.stdout;
  stream.on("error", (error: unknown) => {
    if (systemCode(error) !== "EPIPE") throw error;
    closing.abort();
  });
  const write = async (text: string): Promise<void> => {
    if (closing.signal.aborted || stream.write(text)) return;
    await new Promise<void>((resolve) => {
      stream.once("drain", resolve);
      closing.signal.addEventListener("abort", () => resolve(), { once: true });
    });
  };
  return {
    write,
    line: (text) => write(`${text}\n`),
    get width() {
      return stream.isTTY ? stream.columns : undefined;
    },
    color: wantsColor(stream, env),
    closed: closing.signal,
  };
}

/** Ctrl-C and SIGTERM as a signal, for commands that end well by them; `dispose` gives the keys back. */
export function interruption(): { signal: AbortSignal; dispose: () => void } {
  const controller = new AbortController();
  const stop = () => controller.abort();
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  return {
    signal: controller.signal,
    dispose: () => {
      process.off("SIGINT", stop);
      process.off("SIGTERM", stop);
    },
  };
}
