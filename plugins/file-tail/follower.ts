import { stat } from "node:fs/promises";
import { type Emit, type PluginClock, type PluginLog, v } from "../../src/sdk/holdfast.ts";
import { Batch } from "./batch.ts";
import { EarlierFiles } from "./earlier-files.ts";
import { scanLines } from "./line-scanner.ts";
import { fileStateSchema, isSameFile, MARK_BYTES, TailedFile } from "./tailed-file.ts";

const CHUNK = 256 * 1024;
const WINDOW = MARK_BYTES + CHUNK;
/** Rotated files that are still read; with more the oldest is closed early. */
const MAX_OPEN = 32;
/** Bytes that may be read without an event before the position is stored. */
const SILENT_BYTES = 4 * 1024 * 1024;

export const checkpointSchema = v.object({
  /** When this trigger was first started, base 36: keeps ids of a new start apart from those of an old one. */
  epoch: v.string(),
  generation: v.number(),
  truncations: v.number(),
  /** Latest modification time (ns) of what was read: rotated files older than it are known. */
  since: v.string(),
  files: v.array(fileStateSchema),
  done: v.array(fileStateSchema),
});
export type Checkpoint = v.InferOutput<typeof checkpointSchema>;

export interface FollowerOptions {
  path: string;
  from: "start" | "end";
  maxLine: number;
  rotateWaitMs: number;
  type: string;
  match: string | undefined;
  checkpoint: Checkpoint | undefined;
  clock: PluginClock;
  log: PluginLog;
  signal: AbortSignal;
}

/**
 * Follows a path through rotation. It reads a list of open files, the oldest first: rotated ones until they have been
 * quiet for a while, then the one that is at the path now. Each emit carries the state of all of them.
 */
export class Follower {
  readonly #options: FollowerOptions;
  readonly #batch: Batch;
  readonly #window = Buffer.allocUnsafe(WINDOW);
  #files: TailedFile[] = [];
  #current: TailedFile | undefined;
  #epoch: string;
  #generation: number;
  #truncations: number;
  readonly #earlier: EarlierFiles;
  #isFirstPass = true;
  #dirty: boolean;
  #silent = 0;
  #complaint = "";
  /** There is more to read now; do not wait. */
  again = false;
  /** Another file came to the path in this pass. */
  switched = false;

  constructor(options: FollowerOptions) {
    this.#options = options;
    this.#batch = new Batch({ type: options.type, file: options.path, match: options.match });
    const { checkpoint, clock } = options;
    this.#dirty = checkpoint === undefined;
    this.#epoch = checkpoint?.epoch ?? Math.floor(clock.wall() / 1000).toString(36);
    this.#generation = checkpoint?.generation ?? 0;
    this.#truncations = checkpoint?.truncations ?? 0;
    this.#earlier = new EarlierFiles({
      path: options.path,
      since: BigInt(checkpoint?.since ?? "0"),
      done: checkpoint?.done ?? [],
      nextGeneration: () => ++this.#generation,
      complain: (trouble, path) => this.#complain(trouble, path),
    });
  }

  /** Everything that is there to read now. */
  async *pass(): AsyncGenerator<Emit, void, void> {
    this.again = false;
    this.switched = false;
    if (this.#isFirstPass) await this.#begin();
    await this.#followPath();
    this.#isFirstPass = false;
    for (const file of [...this.#files]) {
      yield* this.#read(file, false);
      if (!this.#isOver(file)) continue;
      yield* this.#read(file, true);
      await this.#retire(file);
    }
    const isWorthIt = !this.#batch.isEmpty || this.#dirty || this.#silent >= SILENT_BYTES;
    if (isWorthIt && !this.#options.signal.aborted) yield this.#flush();
  }

  async close(): Promise<void> {
    await Promise.all(this.#files.map((file) => file.close()));
    this.#files = [];
  }

  #flush(): Emit {
    this.#dirty = false;
    this.#silent = 0;
    const checkpoint: Checkpoint = {
      epoch: this.#epoch,
      generation: this.#generation,
      truncations: this.#truncations,
      since: String(this.#earlier.since),
      files: this.#files.map((file) => file.state()),
      done: this.#earlier.done,
    };
    return { events: this.#batch.take(), checkpoint };
  }

  // ---- reading

  async *#read(file: TailedFile, final: boolean): AsyncGenerator<Emit, void, void> {
    const { clock, signal, maxLine } = this.#options;
    const window = this.#window;
    while (!signal.aborted) {
      // Taken before the read: a copy made before a truncation that comes now is younger than this.
      const { mtimeNs, isRead } = file.look();
      if (isRead && !final) return;
      const piece = await file.read(window, clock.mono());
      if (piece === "replaced") return await this.#replaced(file);
      this.#earlier.noteTime(mtimeNs);
      const prefix = `${file.ino}-${await file.tag(final)}-${this.#epoch}.${file.generation}:`;
      const base = file.offset - piece.from;
      const isEnd = piece.to < WINDOW;
      const scan = { data: window, pos: piece.from, end: piece.to, skipping: file.skipping };
      for (let from = scan.pos; ; from = scan.pos) {
        scanLines(scan, { maxLine, final: final && isEnd }, (start, end, truncated) => {
          const offset = base + start;
          this.#batch.addLine(
            prefix + String(offset).padStart(12, "0"),
            window,
            start,
            end,
            offset,
            truncated,
          );
          return !this.#batch.isFull;
        });
        file.advance(window, from, scan.pos, scan.skipping);
        this.#silent += scan.pos - from;
        if (!this.#batch.isFull) break;
        yield this.#flush();
        if (signal.aborted) return;
      }
      if (isEnd) return file.endReached();
    }
  }

  /** What was read is not there any more: the file was truncated, or its inode has other content. */
  async #replaced(file: TailedFile): Promise<void> {
    this.#dirty = true;
    this.again = true;
    const earlier = await this.#earlier.unread(this.#files);
    this.#files.splice(this.#files.indexOf(file), 0, ...earlier);
    this.#truncations++;
    const offset = file.offset;
    file.restart(++this.#generation);
    const id = `${file.ino}-${this.#epoch}.${this.#generation}:truncated`;
    this.#batch.addNotice("log.truncated", id, { offset, count: this.#truncations, copies: earlier.length });
  }

  #isOver(file: TailedFile): boolean {
    if (file === this.#current) return false;
    if (this.#files.length > MAX_OPEN && file === this.#files[0]) return true;
    return this.#options.clock.mono() - file.grownAt >= this.#options.rotateWaitMs;
  }

  // ---- which files

  /** Takes up the files of the checkpoint, or takes note of what was there before the first start. */
  async #begin(): Promise<void> {
    const { checkpoint, path, log } = this.#options;
    if (!checkpoint) return await this.#earlier.passOver(this.#window);
    for (const state of checkpoint.files) {
      const file = await this.#earlier.locate(state);
      if (file && this.#files.some((other) => isSameFile(other, file))) await file.close();
      else if (file) this.#files.push(file);
      else log.warn("a rotated file is gone; what was unread of it is lost", { path, offset: state.offset });
    }
  }

  async #followPath(): Promise<void> {
    const { path, from } = this.#options;
    const opened = await this.#openPath();
    if (!opened) return;
    const tracked = this.#files.find((file) => isSameFile(file, opened));
    if (tracked) {
      await opened.close();
      if (tracked === this.#current) return;
      // Of a file that nobody has read yet, a copy that was taken before a truncation leaves no other trace.
      const earlier = tracked.offset === 0 ? await this.#earlier.unread(this.#files) : [];
      this.#files = [...this.#files.filter((file) => file !== tracked), ...earlier, tracked];
      this.#current = tracked;
      return;
    }
    this.#dirty = true;
    this.switched = true;
    if (this.#isFirstPass && !this.#options.checkpoint) {
      this.#earlier.noteTime(opened.look().mtimeNs);
      if (from === "end") await opened.seekEnd(this.#window);
    } else {
      this.#files.push(...(await this.#earlier.unread([...this.#files, opened])));
    }
    if (!(await this.#earlier.resume(opened))) opened.generation = ++this.#generation;
    this.#files.push(opened);
    this.#current = opened;
    this.#complain("", path);
  }

  /** The file at the path, opened, unless it is the current one. */
  async #openPath(): Promise<TailedFile | undefined> {
    const { path } = this.#options;
    try {
      const found = await stat(path, { bigint: true });
      if (found.isDirectory()) throw new Error(`${path} is a folder: path must name a log file in it`);
      if (!found.isFile()) throw new Error(`${path} is not a regular file; only such can be followed`);
      const identity = { dev: String(found.dev), ino: String(found.ino) };
      if (this.#current && isSameFile(this.#current, identity)) return undefined;
      return await TailedFile.open(path);
    } catch (error) {
      const { code, message } = error as { code?: string; message: string };
      if (code === undefined) throw error;
      this.#complain(code === "ENOENT" ? "it does not exist yet" : message, path);
      if (code === "ENOENT" || code === "ENOTDIR") this.#current = undefined;
      return undefined;
    }
  }

  // ---- the list

  /** Read to its end and quiet: closed, and remembered as such. */
  async #retire(file: TailedFile): Promise<void> {
    if (this.again || this.#options.signal.aborted) return;
    this.#earlier.finish(file.state());
    this.#dirty = true;
    this.#files = this.#files.filter((other) => other !== file);
    await file.close();
  }

  /** Each trouble is logged once, until another takes its place. */
  #complain(trouble: string, path: string): void {
    if (trouble !== "" && trouble !== this.#complaint) {
      this.#options.log.warn("cannot read the file; trying again", { path, reason: trouble });
    }
    this.#complaint = trouble;
  }
}
