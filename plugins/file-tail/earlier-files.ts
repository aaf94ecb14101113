import { type FamilyFile, findByInode, listFamily } from "./family.ts";
import { type FileState, isSameFile, TailedFile } from "./tailed-file.ts";

/** Finished files that are remembered, so that they are not taken for unread ones. */
const MAX_DONE = 8;
/** Searches that are begun again because files were renamed meanwhile. */
const MAX_SEARCHES = 5;

interface Options {
  path: string;
  since: bigint;
  done: FileState[];
  nextGeneration: () => number;
  /** Hears of files that cannot be opened. */
  complain: (trouble: string, path: string) => void;
}

/** What is known of the rotated files of a log: which were read, and how to find those that were not. */
export class EarlierFiles {
  readonly #options: Options;
  /** Latest modification time of what was read; a file that was last written before it is known. */
  since: bigint;
  done: FileState[];

  constructor(options: Options) {
    this.#options = options;
    this.since = options.since;
    this.done = options.done;
  }

  noteTime(modified: bigint): void {
    if (modified > this.since) this.since = modified;
  }

  /** Remembers a file as read so far. */
  finish(state: FileState): void {
    this.done = [...this.done.filter((other) => !isSameFile(other, state)), state].slice(-MAX_DONE);
  }

  /** Counts what is there before the very first start as read. */
  async passOver(window: Buffer): Promise<void> {
    for (const member of (await listFamily(this.#options.path)).slice(-MAX_DONE)) {
      this.noteTime(member.mtimeNs);
      const file = await this.open(member.path);
      if (!file) continue;
      await file.seekEnd(window);
      this.finish(file.state());
      await file.close();
    }
  }

  /** The file of a checkpoint: by its inode at the path or under a rotated name, else a copy of what it was. */
  async locate(state: FileState): Promise<TailedFile | undefined> {
    const { path } = this.#options;
    const atPath = await this.open(path);
    // Its content is checked as it is read: that it is another by now has to be reported.
    if (atPath && isSameFile(atPath, state)) {
      atPath.resume(state);
      return atPath;
    }
    await atPath?.close();
    const moved = await findByInode(path, state);
    if (moved !== undefined) {
      const file = await this.#openIf(
        moved,
        async (file) => isSameFile(file, state) && (await file.matches(state)),
      );
      if (file) file.resume(state);
      if (file) return file;
    }
    for (const member of state.offset > 0 ? await listFamily(path) : []) {
      if (member.mtimeNs < this.since) continue;
      const file = await this.#openIf(member.path, (file) => file.matches(state));
      if (file) file.resume(state);
      if (file) return file;
    }
    return undefined;
  }

  /**
   * Rotated files with lines that were never read, the oldest first, each where its unread part begins: copies that go
   * on behind what was read of a file before it was truncated, and files of which nobody knew, when the path was
   * rotated more than once since the last look. `tracked` are read anyway.
   */
  async unread(tracked: TailedFile[]): Promise<TailedFile[]> {
    for (let search = 1; ; search++) {
      const found: TailedFile[] = [];
      let isSteady = true;
      for (const member of await listFamily(this.#options.path)) {
        if (tracked.some((file) => isSameFile(file, member))) continue;
        if (member.size === 0 || member.mtimeNs < this.since) continue;
        const file = await this.open(member.path);
        if (!file || !isSameFile(file, member)) isSteady = false;
        if (file && isSameFile(file, member) && (await this.#seek(file, member, tracked))) found.push(file);
        else await file?.close();
      }
      if (isSteady || search === MAX_SEARCHES) return found;
      await Promise.all(found.map((file) => file.close()));
    }
  }

  /** Resumes a file that was at the path before; false when it is not known. */
  async resume(file: TailedFile): Promise<boolean> {
    const known = this.done.find((state) => isSameFile(state, file));
    if (!known || !(await file.matches(known))) return false;
    file.resume(known);
    return true;
  }

  async open(path: string): Promise<TailedFile | undefined> {
    try {
      return await TailedFile.open(path);
    } catch (error) {
      this.#options.complain((error as Error).message, path);
      return undefined;
    }
  }

  /** Goes to the first unread byte of a file; false when all of it was read. */
  async #seek(file: TailedFile, member: FamilyFile, tracked: TailedFile[]): Promise<boolean> {
    if (await this.resume(file)) return file.offset < member.size;
    for (const original of tracked) {
      const state = original.state();
      if (await original.matches(state)) {
        if (await original.isCopiedBy(file)) return false;
      } else if (state.offset > 0 && (await file.matches(state))) {
        file.resume(state);
        return true;
      }
    }
    file.generation = this.#options.nextGeneration();
    return true;
  }

  async #openIf(path: string, isIt: (file: TailedFile) => Promise<boolean>): Promise<TailedFile | undefined> {
    const file = await this.open(path);
    if (file && (await isIt(file))) return file;
    await file?.close();
    return undefined;
  }
}
