import type { Clock } from "../core/clock.ts";

const AFTER_MS = 1000;
const EVERY_MS = 500;
const BREATHE_EVERY_MS = 50;

/** On a terminal, what takes more than a second says how far it is. */
export function progressOn(clock: Clock) {
  const began = clock.mono();
  const visible = process.stderr.isTTY === true;
  let shownAt = began + AFTER_MS - EVERY_MS;
  let written = false;
  return {
    show(done: number, of: number | null, what: string): void {
      const now = clock.mono();
      if (!visible || now - shownAt < EVERY_MS) return;
      shownAt = now;
      written = true;
      process.stderr.write(`\r\u001b[K${done}${of === null ? "" : ` of ${of}`} ${what}`);
    },
    end(): void {
      if (written) process.stderr.write("\r\u001b[K");
    },
  };
}

/** Reading a store waits for nothing: without this nobody would hear Ctrl-C, nor that the reader has gone. */
export function breather(clock: Clock): () => Promise<void> {
  let last = clock.mono();
  return async () => {
    if (clock.mono() - last < BREATHE_EVERY_MS) return;
    await clock.sleep(0);
    last = clock.mono();
  };
}
