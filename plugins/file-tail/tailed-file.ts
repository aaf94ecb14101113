import { constants, fstatSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { v } from "../../src/sdk/holdfast.ts";

/** So many bytes before the position vouch that a file is still the one that was read. */
export const MARK_BYTES = 256;
const COMPARED_BYTES = 64 * 1024;

/** What is kept of a file over a restart. */
export const fileStateSchema = v.object({
  dev: v.string(),
  ino: v.string(),
  generation: v.number(),
  /** Everything before it was emitted. */
  offset: v.number(),
  /** Fingerprint of the bytes before the offset. */
  mark: v.string(),
  skipping: v.boolean(),
});
export type FileState = v.InferOutput<typeof fileStateSchema>;

export interface FileIdentity {
  dev: string;
  ino: string;
}

export const isSameFile = (a: FileIdentity, b: FileIdentity): boolean => a.ino === b.ino && a.dev === b.dev;

/** An open file and how far it was read. Its lines go on being readable after a rename or a removal. */
export class TailedFile implements FileIdentity {
  readonly dev: string;
  readonly ino: string;
  readonly #handle: FileHandle;
  offset = 0;
  skipping = false;
  generation = 0;
  /** Monotonic time at which it was last seen to grow. */
  grownAt = 0;
  #mark = fingerprint(new Uint8Array());
  #tag: string | undefined;
  #seen = -1;
  #looked = "";
  #readAt = "never";

  private constructor(handle: FileHandle, identity: FileIdentity) {
    this.#handle = handle;
    this.dev = identity.dev;
    this.ino = identity.ino;
  }

  /** Undefined when there is no regular file. */
  static async open(path: string): Promise<TailedFile | undefined> {
    // Without O_NONBLOCK a pipe in this place would hold up the thread.
    const handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch(
      (error: { code?: string }) => {
        if (error.code === "ENOENT" || error.code === "ENOTDIR" || error.code === "ENXIO") return undefined;
        throw error;
      },
    );
    if (!handle) return undefined;
    const stat = await handle.stat({ bigint: true });
    if (stat.isFile()) return new TailedFile(handle, { dev: String(stat.dev), ino: String(stat.ino) });
    await handle.close();
    return undefined;
  }

  async size(): Promise<number> {
    return (await this.#handle.stat()).size;
  }

  /** Size and time of the last write; `isRead` when they are those of the last time it was read to its end. */
  look(): { mtimeNs: bigint; isRead: boolean } {
    // Of an open file this takes microseconds; a trip to another thread would be most of what an idle tail costs.
    const { size, mtimeNs } = fstatSync(this.#handle.fd, { bigint: true });
    this.#looked = `${size}:${mtimeNs}`;
    return { mtimeNs, isRead: this.#looked === this.#readAt };
  }

  /** Everything that was there at the last look was read. */
  endReached(): void {
    this.#readAt = this.#looked;
  }

  /** Goes on where another look at the same content stopped. */
  resume(state: FileState): void {
    this.offset = state.offset;
    this.#mark = state.mark;
    this.skipping = state.skipping;
    this.generation = state.generation;
  }

  /** From the beginning, as new content. */
  restart(generation: number): void {
    this.resume({
      ...this.state(),
      offset: 0,
      mark: fingerprint(new Uint8Array()),
      skipping: false,
      generation,
    });
    this.#tag = undefined;
    this.#readAt = "never";
  }

  /** Behind the last complete line: one that is still being written is new when it is done. */
  async seekEnd(window: Buffer): Promise<void> {
    const size = await this.size();
    const from = Math.max(0, size - window.length);
    const { bytesRead } = await this.#handle.read(window, 0, window.length, from);
    const at = window.subarray(0, bytesRead).lastIndexOf(10);
    // A line as long as the window is given up.
    this.skipping = from > 0 && at < MARK_BYTES;
    const end = this.skipping ? bytesRead : at + 1;
    this.offset = from + end;
    this.#mark = fingerprint(window.subarray(Math.max(0, end - MARK_BYTES), end));
  }

  /**
   * Reads on from the offset. `replaced` when what stands before the offset is not what was read: the file was
   * truncated, or is another one under the same inode. One read gives both, so that no change slips in between.
   */
  async read(window: Buffer, now: number): Promise<{ from: number; to: number } | "replaced"> {
    const from = Math.min(MARK_BYTES, this.offset);
    const { bytesRead: to } = await this.#handle.read(window, 0, window.length, this.offset - from);
    if (to < from || fingerprint(window.subarray(0, from)) !== this.#mark) return "replaced";
    const seen = this.offset - from + to;
    if (seen !== this.#seen) this.grownAt = now;
    this.#seen = seen;
    return { from, to };
  }

  /** Whether this file holds what was read before this state. */
  async matches(state: Pick<FileState, "offset" | "mark">): Promise<boolean> {
    const length = Math.min(MARK_BYTES, state.offset);
    const bytes = Buffer.alloc(length);
    const { bytesRead } = await this.#handle.read(bytes, 0, length, state.offset - length);
    return bytesRead === length && fingerprint(bytes) === state.mark;
  }

  /** Whether `copy` holds a beginning of this file and nothing else. */
  async isCopiedBy(copy: TailedFile): Promise<boolean> {
    const size = await copy.size();
    if (size > (await this.size())) return false;
    const length = Math.min(size, COMPARED_BYTES);
    const [own, other] = [Buffer.alloc(length), Buffer.alloc(length)];
    await this.#handle.read(own, 0, length, 0);
    await copy.#handle.read(other, 0, length, 0);
    return own.equals(other);
  }

  /** Takes note that `window[from, to)`, which `read` gave, was used. */
  advance(window: Buffer, from: number, to: number, skipping: boolean): void {
    this.skipping = skipping;
    if (to === from) return;
    this.offset += to - from;
    this.#mark = fingerprint(window.subarray(Math.max(0, to - MARK_BYTES), to));
  }

  /**
   * Names the content in event ids: a fingerprint of the first line (at most 256 bytes of it), which never changes once
   * a line of the file was emitted.
   */
  async tag(final: boolean): Promise<string> {
    if (this.#tag !== undefined) return this.#tag;
    const head = Buffer.alloc(MARK_BYTES);
    const { bytesRead } = await this.#handle.read(head, 0, MARK_BYTES, 0);
    const at = head.subarray(0, bytesRead).indexOf(10);
    const tag = fingerprint(head.subarray(0, at < 0 ? bytesRead : at)).slice(0, 8);
    if (at >= 0 || bytesRead === MARK_BYTES || final) this.#tag = tag;
    return tag;
  }

  state(): FileState {
    const { dev, ino, generation, offset, skipping } = this;
    return { dev, ino, generation, offset, mark: this.#mark, skipping };
  }

  async close(): Promise<void> {
    await this.#handle.close().catch(() => {});
  }
}

function fingerprint(bytes: Uint8Array): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex").slice(0, 16);
}
