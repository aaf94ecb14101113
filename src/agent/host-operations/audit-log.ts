import { mkdirSync } from "node:fs";
import { open } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import { openLogFile } from "../../core/log-file.ts";
import type { JsonObject } from "../../model/json.ts";

const MAX_BYTES = 16 * 1024 * 1024;
const MAX_FILES = 8;

export interface AuditLog {
  /** Appends one line with the time in front. Resolves when it is on the disk; throws `failed` when it is not. */
  record(line: JsonObject): Promise<void>;
  close(): Promise<void>;
}

/** JSON lines, rotated, each synced to the disk: what was about to be done is known also after a reboot that it caused. */
export function openAuditLog(options: { path: string; clock: Clock; maxBytes?: number }): AuditLog {
  const { path, clock, maxBytes = MAX_BYTES } = options;
  mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
  const file = openLogFile({ path, maxBytes, maxFiles: MAX_FILES, wall: () => clock.wall() });
  let last: Promise<void> = Promise.resolve();
  // One after the other, so that a line that was dropped is known to be this one.
  const append = async (text: string) => {
    const before = file.dropped();
    file.write(text, "info");
    await file.flush();
    if (file.dropped() !== before) {
      throw new HoldfastError("failed", `the audit log ${path} cannot be written: is the disk full?`);
    }
    const handle = await open(path, "r");
    await handle.sync().finally(() => handle.close());
  };
  return {
    record(line) {
      const text = JSON.stringify({ time: new Date(clock.wall()).toISOString(), ...line });
      const written = last.then(() => append(text));
      last = written.catch(() => {});
      return written;
    },
    async close() {
      await last;
      await file.close();
    },
  };
}
