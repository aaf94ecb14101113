import { accessSync, constants, statSync } from "node:fs";
import { join } from "node:path";
import { HoldfastError } from "../../core/errors.ts";

/** Absolute paths of the programs that operations are made of; null where this host has none. */
export interface Programs {
  systemctl: string | null;
  journalctl: string | null;
  shutdown: string | null;
  "apt-get": string | null;
  dnf: string | null;
  zypper: string | null;
  docker: string | null;
  podman: string | null;
}
export type ProgramName = keyof Programs;

const FOLDERS = ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"];

/** Looks in fixed folders, never in PATH, and takes only what root alone can change: it may be run as root. */
export function findPrograms(folders: string[] = FOLDERS): Programs {
  const find = (name: ProgramName) =>
    folders.map((folder) => join(folder, name)).find(isTrustedProgram) ?? null;
  return {
    systemctl: find("systemctl"),
    journalctl: find("journalctl"),
    shutdown: find("shutdown"),
    "apt-get": find("apt-get"),
    dnf: find("dnf"),
    zypper: find("zypper"),
    docker: find("docker"),
    podman: find("podman"),
  };
}

function isTrustedProgram(path: string): boolean {
  try {
    const { mode, uid } = statSync(path);
    if ((mode & constants.S_IFMT) !== constants.S_IFREG || uid !== 0 || (mode & 0o022) !== 0) return false;
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The first of the programs that this host has. Throws `failed` naming them when it has none. */
export function firstOf(programs: Programs, operation: string, names: ProgramName[]): [ProgramName, string] {
  for (const name of names) {
    const path = programs[name];
    if (path !== null) return [name, path];
  }
  throw new HoldfastError(
    "failed",
    `${operation} needs ${names.join(" or ")}, which this host does not have in ${FOLDERS.join(", ")}`,
  );
}
