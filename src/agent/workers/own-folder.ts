import { chownSync, mkdirSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Ids } from "../../core/ids.ts";

/** A fresh folder of a worker's own, which it may fill as it likes. */
export interface OwnFolder {
  path: string;
  remove(): Promise<void>;
}

/** `label` is for a person who looks for it; `owner` is the worker's user where it has one of its own. */
export function makeOwnFolder(
  workdir: string,
  label: string,
  ids: Ids,
  owner?: { uid: number; gid: number },
): OwnFolder {
  const path = join(workdir, `${label}-${ids.hex(4)}`);
  mkdirSync(workdir, { recursive: true, mode: 0o750 });
  mkdirSync(path, { mode: 0o700 });
  if (owner) chownSync(path, owner.uid, owner.gid);
  return { path, remove: () => rm(path, { recursive: true, force: true }).catch(() => {}) };
}

/** Folders that workers of a killed agent have left. */
export async function leftFolders(workdir: string): Promise<string[]> {
  const names = await readdir(workdir).catch(() => []);
  return names.map((name) => join(workdir, name));
}

/** Empties the folder of the workers' folders. */
export async function removeLeftovers(workdir: string): Promise<void> {
  for (const path of await leftFolders(workdir)) {
    await rm(path, { recursive: true, force: true }).catch(() => {});
  }
}
