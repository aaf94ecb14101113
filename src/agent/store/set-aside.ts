import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { openDatabase } from "../../storage/open-database.ts";
import { forgetDamage } from "./damage.ts";
import type { StoreFacts } from "./port.ts";

type Salvage = NonNullable<StoreFacts["salvage"]>;

const COMPANIONS = ["-wal", "-shm"];

/**
 * Replaces a damaged file by what `build` makes of it, and keeps it under a new name. The new store is complete before
 * the old one moves, so that a crash at any point loses nothing: either the next start builds it again, or
 * `finishSetAside` puts it in its place.
 */
export function setAside(
  path: string,
  reason: string,
  nowMs: number,
  build: (fresh: string, movedTo: string) => Record<string, number>,
): Salvage {
  const movedTo = freeName(`${path}.corrupt-${stamp(nowMs)}`);
  removeStore(freshPath(path));
  const salvaged = build(freshPath(path), movedTo);
  renameSync(path, movedTo);
  putInPlace(path, movedTo);
  return { movedTo, reason, salvaged };
}

/** Ends what a crash interrupted between the two renames; null when there was nothing. */
export function finishSetAside(path: string): Salvage | null {
  if (existsSync(path) || !existsSync(freshPath(path))) return null;
  const fresh = openDatabase(freshPath(path), { readonly: true });
  let facts: Salvage;
  try {
    const row = fresh.query("SELECT value FROM meta WHERE key = 'salvage'").get() as { value: string };
    facts = JSON.parse(row.value) as Salvage;
  } finally {
    fresh.close();
  }
  putInPlace(path, facts.movedTo);
  return facts;
}

function putInPlace(path: string, movedTo: string): void {
  for (const suffix of COMPANIONS) {
    if (existsSync(path + suffix)) renameSync(path + suffix, movedTo + suffix);
  }
  forgetDamage(path);
  for (const suffix of COMPANIONS) rmSync(freshPath(path) + suffix, { force: true });
  renameSync(freshPath(path), path);
  const folder = openSync(dirname(path), "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function freshPath(path: string): string {
  return `${path}.salvage`;
}

function removeStore(path: string): void {
  for (const suffix of ["", "-journal", ...COMPANIONS]) rmSync(path + suffix, { force: true });
}

function freeName(name: string): string {
  for (let n = 1; ; n++) {
    const candidate = n === 1 ? name : `${name}-${n}`;
    if (!existsSync(candidate)) return candidate;
  }
}

/** `20261121T043000Z` */
function stamp(nowMs: number): string {
  return `${new Date(nowMs).toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
}
