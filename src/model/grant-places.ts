import { basename, dirname, join, resolve } from "node:path/posix";
import { SYSTEM_PATHS } from "./permissions.ts";
import type { Expanded, RealPath } from "./grant-expand.ts";
import { type GrantNotes, listText } from "./grant-notes.ts";

/** Places of the agent. Paths are absolute. */
export interface Places {
  home: string;
  /** What no worker may write: configuration, state, plugins, audit, the executable. */
  protectedWrite: string[];
  /** What no worker may read or write: keys, certificates, state. */
  protectedRead: string[];
  /** Sockets to which no worker is connected: the agent's own. */
  protectedUnix: string[];
}

export type PathPermission = "read" | "write" | "exec" | "unix";

/** A place that a plugin asks for, or may get: real, or to be made. */
export interface Wanted {
  path: string;
  /** For a person: what the manifest or the policy says. */
  shown: string;
  create?: "file" | "folder";
  /** The path before links were followed, of what is to be made. */
  asked?: string;
}

/** Folders of the host's programs and libraries: what `@system` covers when a policy allows it. */
export const SYSTEM_FOLDERS = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

export function contains(folder: string, path: string): boolean {
  return path === folder || path.startsWith(folder === "/" ? "/" : `${folder}/`);
}

export interface LocateContext {
  home: string;
  /** Real paths that this permission must not reach. */
  protectedPlaces: string[];
  realpath: RealPath;
  /** Places inside a granted folder can be covered on this host. */
  canHide: boolean;
}

/** Where a path really leads; null (with a note, unless it may be absent) when there is nothing. */
export function locate(
  permission: PathPermission,
  item: Expanded,
  isOptional: boolean,
  context: LocateContext,
  notes: GrantNotes,
): Wanted | null {
  const path = resolve(context.home, item.value);
  const place = context.realpath(path);
  const reaches = (folder: string) => context.protectedPlaces.some((each) => contains(folder, each));
  if (item.file !== undefined && reaches(place?.path ?? path)) {
    // The folder of a file is asked for only to rotate or replace it: not worth opening the agent's home for writing.
    if (permission !== "read" || !context.canHide) {
      return locateFile(permission, item, isOptional, context, notes);
    }
  }
  if (place !== null) {
    if (permission === "unix" && place.kind === "folder") {
      notes.refuse(permission, item.shown, "it is a folder", "name the socket in it");
      return null;
    }
    return { path: place.path, shown: linkText(item.shown, path, place.path) };
  }
  if (isOptional) return null;
  const create = permission === "write" ? toCreate(path, item, context.realpath) : null;
  if (create === null) {
    const remedy = "make it, or let the manifest end it with ? if it may be absent";
    notes.refuse(permission, item.shown, `there is nothing at ${path}`, remedy);
  }
  return create;
}

/** The file alone, in place of its folder. */
function locateFile(
  permission: PathPermission,
  item: Expanded,
  isOptional: boolean,
  { realpath }: LocateContext,
  notes: GrantNotes,
): Wanted | null {
  const file = item.file!;
  const shown = `${file} (${item.shown})`;
  const place = realpath(file);
  if (place !== null) return { path: place.path, shown: linkText(shown, file, place.path) };
  if (permission !== "write" && isOptional) return null;
  const parent = realpath(dirname(file));
  if (permission === "write" && parent?.kind === "folder")
    return { path: join(parent.path, basename(file)), shown, create: "file" };
  const missing = permission === "write" ? `folder ${dirname(file)}` : `file ${file}`;
  notes.refuse(permission, shown, `there is no ${missing}`, "make it first");
  return null;
}

/** A file in a folder that is there; a file's folder as deep as it is missing. */
function toCreate(path: string, item: Expanded, realpath: RealPath): Wanted | null {
  const isFolder = item.file !== undefined;
  for (let parent = dirname(path); ; parent = dirname(parent)) {
    const place = realpath(parent);
    if (place !== null) {
      if (place.kind !== "folder") return null;
      const real = join(place.path, path.slice(parent.length));
      const shown = linkText(item.shown, path, real);
      return { path: real, shown, create: isFolder ? "folder" : "file", asked: path };
    }
    if (!isFolder || parent === "/") return null;
  }
}

function linkText(shown: string, path: string, real: string): string {
  return path === real ? shown : `${shown}, which leads to ${real},`;
}

/** The part of `asked` that a policy's path allows. */
export function meetPaths(asked: Wanted, allowed: Wanted): Wanted | null {
  if (coversPath(allowed.path, asked.path)) return asked;
  // What is not there yet cannot be a folder with an allowed part.
  return asked.create === undefined && coversPath(asked.path, allowed.path) ? allowed : null;
}

function coversPath(wide: string, narrow: string): boolean {
  if (wide === narrow) return true;
  if (wide === SYSTEM_PATHS) return SYSTEM_FOLDERS.some((folder) => contains(folder, narrow));
  // `@system` is more than its folders (public files of /etc, devices): only everything covers it.
  if (narrow === SYSTEM_PATHS) return wide === "/";
  return contains(wide, narrow);
}

/**
 * Holds granted paths against the places that they must not reach. A path inside of one is refused; those inside of a
 * granted folder come back as what has to be covered.
 */
export function coverPlaces(
  permission: PathPermission,
  granted: Wanted[],
  { protectedPlaces, realpath, canHide }: LocateContext,
  notes: GrantNotes,
): string[] {
  const verb = permission === "write" ? "write" : "read";
  return granted.flatMap(({ path, shown }) => {
    if (path === SYSTEM_PATHS) return [];
    const around = protectedPlaces.find((place) => contains(place, path));
    if (around !== undefined) {
      notes.refuse(
        permission,
        shown,
        `it lies in ${around}, which no plugin may ${verb}`,
        "use another place",
      );
      return [];
    }
    const inside = protectedPlaces.filter((place) => contains(path, place));
    if (inside.length === 0) return [];
    if (!canHide) {
      const why = `it holds ${listText(inside)}, which no plugin may ${verb}, and this host cannot cover that`;
      notes.refuse(permission, shown, why, "name folders beside it, or allow user namespaces on this host");
      return [];
    }
    return inside.flatMap((place) => {
      const cover = coverOf(path, place, verb, realpath);
      if (cover !== null) return [cover];
      notes.refuse(
        permission,
        shown,
        `${place} would lie in it and is not there yet`,
        "make that folder first",
      );
      return [];
    });
  });
}

/**
 * What to cover so that `place` in `folder` is out of reach. Where the folder may be written this is the topmost folder on
 * the way: otherwise a folder between could be renamed, and another put in its place. Null when it is not there.
 */
function coverOf(folder: string, place: string, verb: "read" | "write", realpath: RealPath): string | null {
  const steps = place.slice(folder === "/" ? 1 : folder.length + 1).split("/");
  const topmost = join(folder, steps[0]!);
  if (verb === "write") return realpath(topmost) === null ? null : topmost;
  for (let path = place; path !== folder; path = dirname(path)) {
    if (realpath(path) !== null) return path;
  }
  return null;
}
