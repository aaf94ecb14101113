import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, extname, join } from "node:path";
import { type FileIdentity, isSameFile } from "./tailed-file.ts";

/** Entries of a folder that are looked at; a log folder with more is not searched to its end. */
const MAX_ENTRIES = 50_000;
const MAX_FAMILY = 200;
const MAX_LOOKS = 10;

/** A file that may be an earlier one of a log. */
export interface FamilyFile extends FileIdentity {
  path: string;
  size: number;
  mtimeNs: bigint;
}

/**
 * Whether a name is what log rotation makes of `base`: app.log.1, app.log-20261121, app.log.old, app-2026-11-21.log.
 * Others (app.log.json, app.log.bak) are not earlier parts of this log; compressed ones cannot be read on.
 */
export function isRotatedName(base: string, name: string): boolean {
  const suffix = /^[._-]?(old|\d[\dTZ_:.+-]*)$/;
  if (name.startsWith(base) && name !== base && suffix.test(name.slice(base.length))) return true;
  const extension = extname(base);
  const stem = base.slice(0, base.length - extension.length);
  if (extension === "" || !name.startsWith(stem) || !name.endsWith(extension)) return false;
  const middle = name.slice(stem.length, name.length - extension.length);
  return /^[._-]/.test(middle) && suffix.test(middle);
}

/** Rotated files of the log at `path`, the oldest first. */
export async function listFamily(path: string): Promise<FamilyFile[]> {
  // While files are being renamed one look may miss one, or see it twice: two that agree are believed.
  let before = "";
  let files: FamilyFile[] = [];
  for (let look = 0; look < MAX_LOOKS; look++) {
    files = await lookAtFamily(path);
    const now = files.map((file) => `${file.path}:${file.dev}:${file.ino}`).join("\n");
    if (now === before) break;
    before = now;
  }
  return files.filter((file, index) => files.findIndex((other) => isSameFile(other, file)) === index);
}

async function lookAtFamily(path: string): Promise<FamilyFile[]> {
  const base = basename(path);
  const names = (await entries(dirname(path))).filter((name) => isRotatedName(base, name));
  const files: FamilyFile[] = [];
  for (const name of names.slice(0, MAX_FAMILY)) {
    const file = await look(join(dirname(path), name));
    if (file) files.push(file);
  }
  return files.sort(byAge);
}

/** Where the file with this identity lies now: in the folder of `path`, or in that of what it links to. */
export async function findByInode(path: string, wanted: FileIdentity): Promise<string | undefined> {
  const real = await realpath(path).catch(() => path);
  for (const folder of new Set([dirname(path), dirname(real)])) {
    for (const name of await entries(folder)) {
      const file = await look(join(folder, name));
      if (file && isSameFile(file, wanted)) return file.path;
    }
  }
  return undefined;
}

/** By the last write; within one tick of the file system's clock by name, where `.2` is older than `.1`. */
function byAge(a: FamilyFile, b: FamilyFile): number {
  if (a.mtimeNs !== b.mtimeNs) return a.mtimeNs < b.mtimeNs ? -1 : 1;
  const number = (path: string) => /[.-](\d{1,4})$/.exec(path)?.[1];
  const [first, second] = [number(a.path), number(b.path)];
  if (first !== undefined && second !== undefined) return Number(second) - Number(first);
  return a.path < b.path ? -1 : 1;
}

async function entries(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(() => [])).slice(0, MAX_ENTRIES);
}

async function look(path: string): Promise<FamilyFile | undefined> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  if (!found?.isFile()) return undefined;
  const { dev, ino, size, mtimeNs } = found;
  return { path, dev: String(dev), ino: String(ino), size: Number(size), mtimeNs };
}
