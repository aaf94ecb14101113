import { createHash } from "node:crypto";
import { chmodSync, chownSync, lstatSync, mkdirSync, mkdtempSync, statfsSync, writeFileSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

/** Lies in memory: what is written there is on no disk. */
const MEMORY_FOLDER = "/dev/shm";
const TMPFS_MAGIC = 0x01021994;

export interface SecretFiles {
  /** To be granted for reading. */
  folder: string;
  /** Where each of them is, by the names that were given. */
  paths: Record<string, string>;
  remove(): Promise<void>;
}

/**
 * A file 0400 for each of these texts, in a folder that nobody but the worker can look into: in memory where the host has
 * such a place, else in the worker's own folder, which goes with it.
 */
export function makeSecretFiles(
  texts: Record<string, string>,
  { workdir, own, owner }: { workdir: string; own: string; owner?: { uid: number; gid: number } | undefined },
): SecretFiles {
  const folder = makeFolder(workdir, own);
  const paths: Record<string, string> = {};
  for (const [name, text] of Object.entries(texts)) {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o400, flag: "wx" });
    if (owner) chownSync(path, owner.uid, owner.gid);
    paths[name] = path;
  }
  chmodSync(folder, 0o500);
  if (owner) chownSync(folder, owner.uid, owner.gid);
  return { folder, paths, remove: () => removeFolder(folder) };
}

/** What a killed agent has left of this workdir. Of other users nothing is touched, whatever its name. */
export async function removeSecretLeftovers(workdir: string): Promise<void> {
  const names = await readdir(MEMORY_FOLDER).catch(() => []);
  for (const name of names.filter((each) => each.startsWith(secretFolderPrefix(workdir)))) {
    const path = join(MEMORY_FOLDER, name);
    const found = lstatSync(path, { throwIfNoEntry: false });
    const ours = process.getuid?.() === 0 || found?.uid === process.getuid?.();
    if (found?.isDirectory() && ours) await removeFolder(path);
  }
}

function makeFolder(workdir: string, own: string): string {
  if (isInMemory()) {
    try {
      return mkdtempSync(join(MEMORY_FOLDER, secretFolderPrefix(workdir)));
    } catch {
      // Full, or not for this user.
    }
  }
  const folder = join(own, ".secrets");
  mkdirSync(folder, { mode: 0o700 });
  return folder;
}

function isInMemory(): boolean {
  try {
    return Number(statfsSync(MEMORY_FOLDER).type) === TMPFS_MAGIC;
  } catch {
    return false;
  }
}

/** Several agents of one host must not sweep each other's. */
export function secretFolderPrefix(workdir: string): string {
  return `holdfast-${createHash("sha256").update(workdir).digest("hex").slice(0, 12)}-`;
}

async function removeFolder(folder: string): Promise<void> {
  try {
    chmodSync(folder, 0o700);
  } catch {
    // Its worker's user has it; root may remove it all the same.
  }
  await rm(folder, { recursive: true, force: true }).catch(() => {});
}
