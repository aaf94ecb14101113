import { readdirSync, statSync, unlinkSync } from "node:fs";
import { join } from "node:path";

/** Files that rotation has set aside: `agent.log.3`. */
const ROTATED = /\.log\.\d+$/;

export interface Trimmed {
  files: number;
  bytes: number;
}

/** Removes rotated logs in these folders, the oldest first, until `bytes` are free. What is being written to stays. */
export function trimLogs(folders: readonly string[], bytes: number): Trimmed {
  const trimmed = { files: 0, bytes: 0 };
  const rotated = folders.flatMap(rotatedIn).sort((a, b) => a.mtimeMs - b.mtimeMs);
  for (const { path, size } of rotated) {
    if (trimmed.bytes >= bytes) break;
    try {
      unlinkSync(path);
      trimmed.files++;
      trimmed.bytes += size;
    } catch {
      // Rotated away meanwhile, or a disk that takes no change.
    }
  }
  return trimmed;
}

function rotatedIn(folder: string): { path: string; size: number; mtimeMs: number }[] {
  return namesIn(folder).flatMap((name) => {
    if (!ROTATED.test(name)) return [];
    const path = join(folder, name);
    const stat = statSync(path, { throwIfNoEntry: false });
    return stat?.isFile() ? [{ path, size: stat.size, mtimeMs: stat.mtimeMs }] : [];
  });
}

/** Bytes of the files in these folders. */
export function folderBytes(folders: readonly string[]): number {
  const files = folders.flatMap((folder) => namesIn(folder).map((name) => join(folder, name)));
  return files.reduce((sum, path) => sum + fileBytes(path), 0);
}

export function fileBytes(path: string): number {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat?.isFile() ? stat.size : 0;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
