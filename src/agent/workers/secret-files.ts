import { chmodSync, chownSync, lstatSync, mkdirSync, mkdtempSync, statfsSync, writeFileSync } from "node:fs";
import { readdir, rm, rmdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { contains } from "../../model/grant-places.ts";
import { secretFilesFolder } from "../../model/secret.ts";

const TMPFS_MAGIC = 0x01021994;

export interface SecretFiles {
  /** To be granted for reading. */
  folder: string;
  /** Where each of them is, by the names that were given. */
  paths: Record<string, string>;
  remove(): Promise<void>;
}

export interface SecretFilesFor {
  workdir: string;
  /** The worker's own folder. */
  own: string;
  owner?: { uid: number; gid: number } | undefined;
  /** Places that it must not see. */
  hidden: string[];
}

/**
 * A file 0400 for each of these texts, in a folder that nobody but the worker can look into: in memory where the host has
 * such a place, else in the worker's own folder, which goes with it.
 */
export function makeSecretFiles(texts: Record<string, string>, worker: SecretFilesFor): SecretFiles {
  const { owner } = worker;
  const folder = makeFolder(worker);
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

/**
 * Makes the place in memory, empty: what a killed agent has left is gone. Before any worker starts, so that those which may
 * read around it find it covered.
 */
export async function prepareSecretFiles(workdir: string): Promise<void> {
  const shared = secretFilesFolder(workdir);
  if (isOurs(shared)) {
    for (const name of await readdir(shared).catch(() => [])) await removeFolder(join(shared, name));
    return;
  }
  if (!isInMemory(dirname(shared))) return;
  try {
    // Workers with users of their own walk through it; nobody lists it.
    mkdirSync(shared, { mode: 0o711 });
    chmodSync(shared, 0o711);
  } catch {
    // It is somebody else's, or cannot be made: the worker's own folder does it.
  }
}

/** When the agent ends. */
export async function removeSecretFiles(workdir: string): Promise<void> {
  const shared = secretFilesFolder(workdir);
  if (isOurs(shared)) await rmdir(shared).catch(() => {});
}

function makeFolder({ workdir, own, hidden }: SecretFilesFor): string {
  const shared = secretFilesFolder(workdir);
  if (isOurs(shared) && !hidden.some((place) => contains(place, shared))) {
    try {
      return mkdtempSync(join(shared, "s"));
    } catch {
      // Full.
    }
  }
  const folder = join(own, ".secrets");
  mkdirSync(folder, { mode: 0o700 });
  return folder;
}

/** Its name can be known: what another user has put there is not used. */
function isOurs(folder: string): boolean {
  const found = lstatSync(folder, { throwIfNoEntry: false });
  return (
    found !== undefined &&
    found.isDirectory() &&
    found.uid === process.geteuid?.() &&
    (found.mode & 0o22) === 0
  );
}

function isInMemory(folder: string): boolean {
  try {
    return Number(statfsSync(folder).type) === TMPFS_MAGIC;
  } catch {
    return false;
  }
}

async function removeFolder(folder: string): Promise<void> {
  try {
    chmodSync(folder, 0o700);
  } catch {
    // Its worker's user has it; root may remove it all the same.
  }
  await rm(folder, { recursive: true, force: true }).catch(() => {});
}
