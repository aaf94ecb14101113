import { type FileHandle, open, rename, stat } from "node:fs/promises";
import { dirname } from "node:path";

const BLOCK = 64 * 1024;

/** Appends and makes it durable; after an error the file has its old length again. */
export async function appendWhole(path: string, bytes: Buffer): Promise<void> {
  const handle = await open(path, "a", 0o640);
  try {
    const { size } = await handle.stat();
    try {
      await handle.appendFile(bytes);
      await handle.sync();
    } catch (error) {
      // The events come again: half of them here would be a line that is no JSON, and doubles.
      await handle.truncate(size).catch(() => {});
      throw error;
    }
    if (size === 0) await syncFolder(path);
  } finally {
    await handle.close();
  }
}

/** Sets a file aside that would grow over `maxSize`: `path` → `path.1` → … → `path.<keep>`, which is replaced. */
export async function rotate(path: string, adding: number, maxSize: number, keep: number): Promise<void> {
  const size = (await stat(path).catch(ifMissing(undefined)))?.size ?? 0;
  if (size === 0 || size + adding <= maxSize) return;
  for (let number = keep - 1; number >= 0; number--) {
    const from = number === 0 ? path : `${path}.${number}`;
    const next = `${path}.${number + 1}`;
    const isMoved = await rename(from, next).then(
      () => true,
      (error: { code?: string }) => {
        if (isFixed(error)) return false;
        return ifMissing(true)(error);
      },
    );
    // In a folder where nothing may be moved one copy is kept.
    if (!isMoved && number === 0) await setAsideInPlace(path, next);
  }
}

/** The content goes to a file that is there already. A crash between the two leaves it in both, never in none. */
async function setAsideInPlace(path: string, aside: string): Promise<void> {
  const source = await open(path, "r+");
  try {
    const copy = await open(aside, "w", 0o640);
    try {
      const block = Buffer.alloc(BLOCK);
      for (let at = 0; ;) {
        const { bytesRead } = await source.read(block, 0, BLOCK, at);
        if (bytesRead === 0) break;
        await copy.writeFile(block.subarray(0, bytesRead));
        at += bytesRead;
      }
      await copy.sync();
    } finally {
      await copy.close();
    }
    await source.truncate(0);
    await source.sync();
  } finally {
    await source.close();
  }
}

/** The sandbox (or the folder's owner) allows changes of the file, and none of its folder. */
function isFixed(error: { code?: string }): boolean {
  return ["EACCES", "EPERM", "EROFS", "EXDEV", "EBUSY"].includes(error.code ?? "");
}

/** Cuts back to the last line break what a crash left of a line; gives the number of bytes cut off. */
export async function repairEnd(path: string): Promise<number> {
  const handle = await open(path, "r+").catch(ifMissing(undefined));
  if (!handle) return 0;
  try {
    const { size } = await handle.stat();
    const end = await lastBreak(handle, size);
    if (end === size) return 0;
    await handle.truncate(end);
    await handle.sync();
    return size - end;
  } finally {
    await handle.close();
  }
}

/** The length of the file up to and with its last line break. */
async function lastBreak(handle: FileHandle, size: number): Promise<number> {
  const block = Buffer.alloc(BLOCK);
  for (let end = size; end > 0;) {
    const from = Math.max(0, end - BLOCK);
    const { bytesRead } = await handle.read(block, 0, end - from, from);
    const at = block.subarray(0, bytesRead).lastIndexOf(10);
    if (at >= 0) return from + at + 1;
    end = from;
  }
  return 0;
}

/** A new file is durable only with its entry in the folder; whoever may not look into that has not made the file. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), "r").catch((error: { code?: string }) => {
    if (!isFixed(error)) throw error;
  });
  if (!folder) return;
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function ifMissing<T>(value: T) {
  return (error: { code?: string }): T => {
    if (error.code === "ENOENT") return value;
    throw error;
  };
}
