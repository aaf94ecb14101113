import { type FileHandle, open, readdir, rename, rm, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { messageOf, systemCode } from "./errors.ts";
import type { LogSink } from "./logger.ts";

const DEFAULT_PENDING_BYTES = 4 * 1024 * 1024;
const BATCH_BYTES = 256 * 1024;

export interface LogFileOptions {
  path: string;
  /** The file is rotated before it would grow over this; a single longer line gets a file of its own. */
  maxBytes: number;
  /** Rotated files kept: `path.1` is the newest. */
  maxFiles: number;
  /** Unix milliseconds, for the line that tells of dropped lines. */
  wall: () => number;
  /** Lines waiting for a slow disk; more are dropped and counted. */
  maxPendingBytes?: number;
}

export interface LogFile extends LogSink {
  /** Lines lost because the disk was full, failing or slow. */
  dropped(): number;
  /** Resolves when everything written so far is in the file or counted as dropped. Never throws. */
  flush(): Promise<void>;
  /** Flushes and closes; later lines are dropped and counted. */
  close(): Promise<void>;
}

/**
 * Appends lines to a file (mode 0640) with rotation by size. Writing is asynchronous and one at a time, so that a slow
 * disk never blocks the caller, and bounded. A full disk throws nowhere: lines are counted, and one line says how many
 * are missing as soon as there is room again.
 */
export function openLogFile(options: LogFileOptions): LogFile {
  return new RotatingFile(options);
}

interface LossNotice {
  text: string;
  tells: number;
}

class RotatingFile implements LogFile {
  readonly #options: LogFileOptions;
  readonly #maxPending: number;
  #pending: string[] = [];
  #pendingBytes = 0;
  #writing: Promise<void> | undefined;
  #file: FileHandle | undefined;
  #size = 0;
  #pruned = false;
  #closed = false;
  #dropped = 0;
  /** Lines dropped that the file does not tell of yet, and why. */
  #untold = 0;
  #why = "";

  constructor(options: LogFileOptions) {
    this.#options = options;
    this.#maxPending = options.maxPendingBytes ?? DEFAULT_PENDING_BYTES;
  }

  write(line: string): void {
    const bytes = Buffer.byteLength(line) + 1;
    if (this.#closed) return this.#drop(1, "the log was closed");
    if (this.#pendingBytes + bytes > this.#maxPending) return this.#drop(1, "the disk is too slow");
    this.#pending.push(`${line}\n`);
    this.#pendingBytes += bytes;
    this.#writing ??= this.#drain().finally(() => (this.#writing = undefined));
  }

  dropped(): number {
    return this.#dropped;
  }

  async flush(): Promise<void> {
    while (this.#writing) await this.#writing;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.flush();
    await this.#closeFile();
  }

  #drop(lines: number, why: string): void {
    this.#dropped += lines;
    this.#untold += lines;
    this.#why = why;
  }

  async #drain(): Promise<void> {
    // Lines of the same turn of the event loop go out in one write.
    await Promise.resolve();
    while (this.#pending.length > 0) {
      const lines = this.#pending;
      this.#pending = [];
      for (let from = 0; from < lines.length;) {
        const { count, bytes } = await this.#writeBatch(lines, from);
        this.#pendingBytes -= bytes;
        from += count;
      }
    }
  }

  /** Writes as many lines as fit the file and the batch, at least one. Never throws. */
  async #writeBatch(lines: string[], from: number): Promise<{ count: number; bytes: number }> {
    let count = 0;
    let bytes = 0;
    let before: number | undefined;
    try {
      const { file, notice } = await this.#ready(Buffer.byteLength(lines[from]!));
      const room = this.#options.maxBytes - this.#size - Buffer.byteLength(notice.text);
      while (from + count < lines.length) {
        const next = Buffer.byteLength(lines[from + count]!);
        if (count > 0 && bytes + next > Math.min(room, BATCH_BYTES)) break;
        bytes += next;
        count++;
      }
      before = this.#size;
      await this.#append(file, notice.text + lines.slice(from, from + count).join(""));
      this.#untold -= notice.tells;
    } catch (error) {
      if (count === 0) {
        count = 1;
        bytes = Buffer.byteLength(lines[from]!);
      }
      this.#drop(count, reason(error));
      await this.#undoPart(before);
    }
    return { count, bytes };
  }

  /** The file, rotated if `next` bytes do not fit, and the line about losses that is due. */
  async #ready(next: number): Promise<{ file: FileHandle; notice: LossNotice }> {
    let file = this.#file ?? (await this.#open());
    const notice = this.#lossNotice();
    if (this.#size > 0 && this.#size + Buffer.byteLength(notice.text) + next > this.#options.maxBytes) {
      await this.#rotate();
      file = await this.#open();
    }
    return { file, notice };
  }

  async #append(file: FileHandle, text: string): Promise<void> {
    const bytes = Buffer.from(text);
    for (let offset = 0; offset < bytes.length;) {
      const { bytesWritten } = await file.write(bytes, offset, bytes.length - offset);
      offset += bytesWritten;
    }
    this.#size += bytes.length;
  }

  async #open(): Promise<FileHandle> {
    await this.#prune();
    const file = await open(this.#options.path, "a+", 0o640);
    this.#file = file;
    this.#size = (await file.stat()).size;
    if (this.#size > 0) {
      const last = new Uint8Array(1);
      await file.read(last, 0, 1, this.#size - 1);
      // A crash in the middle of a write left half a line: ours must not be glued to it.
      if (last[0] !== 0x0a) await this.#append(file, "\n");
    }
    return file;
  }

  async #rotate(): Promise<void> {
    const { path, maxFiles } = this.#options;
    await this.#closeFile();
    for (let n = maxFiles - 1; n >= 1; n--) await renameIfThere(`${path}.${n}`, `${path}.${n + 1}`);
    if (maxFiles > 0) await renameIfThere(path, `${path}.1`);
    else await unlink(path);
  }

  /** Removes what an earlier, larger `maxFiles` left behind. */
  async #prune(): Promise<void> {
    if (this.#pruned) return;
    this.#pruned = true;
    const { path, maxFiles } = this.#options;
    const prefix = `${basename(path)}.`;
    for (const name of await readdir(dirname(path))) {
      const number = name.startsWith(prefix) ? name.slice(prefix.length) : "";
      if (/^[1-9]\d{0,5}$/.test(number) && Number(number) > maxFiles)
        await rm(join(dirname(path), name), { force: true });
    }
  }

  /** A write that failed half-way must not leave half a line. */
  async #undoPart(size: number | undefined): Promise<void> {
    try {
      if (size !== undefined) await this.#file?.truncate(size);
    } catch {
      // The next open adds the missing newline.
    }
    await this.#closeFile();
  }

  async #closeFile(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close().catch(() => undefined);
  }

  /** Empty when nothing is missing. More lines may be dropped while it is on its way: it tells only of these. */
  #lossNotice(): LossNotice {
    const tells = this.#untold;
    if (tells === 0) return { text: "", tells };
    const line = {
      time: new Date(this.#options.wall()).toISOString(),
      level: "warn",
      component: "log",
      message: `${tells} log lines near this one were dropped: ${this.#why}`,
      dropped: tells,
    };
    return { text: `${JSON.stringify(line)}\n`, tells };
  }
}

function reason(error: unknown): string {
  return systemCode(error) === "ENOSPC" ? "the disk is full" : messageOf(error);
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
  }
}
