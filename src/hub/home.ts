import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import { HoldfastError, messageOf } from "../core/errors.ts";

/** Every path of a hub's home, absolute. */
export type HubHome = ReturnType<typeof hubHome>;

/** The layout of the hub under `base`; touches nothing. */
export function hubHome(base: string) {
  return hubLayout(join(resolve(base), "hub"));
}

/** The same layout at any folder, for an init that builds it beside its place. */
export function hubLayout(root: string) {
  const config = join(root, "config");
  const certificates = join(root, "certificates");
  const data = join(root, "data");
  const logs = join(root, "logs");
  return {
    root,
    config,
    configFile: join(config, "hub.yaml"),
    certificates,
    caFile: join(certificates, "ca.crt"),
    caKeyFile: join(certificates, "ca.key"),
    serverFile: join(certificates, "server.crt"),
    serverKeyFile: join(certificates, "server.key"),
    receiptsFile: join(certificates, "receipts.crt"),
    receiptsKeyFile: join(certificates, "receipts.key"),
    data,
    database: join(data, "hub.db"),
    lockFile: join(data, "hub.lock"),
    logs,
    logFile: join(logs, "hub.log"),
    /** Where a running hub says how it is reached. */
    runFile: join(root, "run.json"),
  };
}

/** Makes the folders that are missing. */
export function makeHubFolders(home: HubHome): void {
  try {
    mkdirSync(home.root, { recursive: true, mode: 0o750 });
    for (const folder of [home.config, home.logs]) mkdirSync(folder, { recursive: true, mode: 0o750 });
    for (const folder of [home.certificates, home.data]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw homeError("make", home.root, error);
  }
}

/** A hub must have been made by `hub init`. */
export function requireHub(home: HubHome): void {
  if (existsSync(home.configFile) && existsSync(home.caFile)) return;
  const base = dirname(home.root);
  throw new HoldfastError(
    "not_found",
    existsSync(home.root)
      ? `${home.root} is no complete hub: config/hub.yaml or certificates/ca.crt is missing. Restore them, or move the folder aside`
      : `There is no hub under ${base}: make one with \`holdfast hub init --home ${base}\``,
  );
}

/** Writes a whole file so that a crash leaves the old or the new one, and it is on disk when this returns. */
export function writeDurably(path: string, content: string, mode: number): void {
  const temporary = `${path}.new-${process.pid}`;
  try {
    writeFileSync(temporary, content, { mode });
    chmodSync(temporary, mode);
    syncPath(temporary);
    renameSync(temporary, path);
    syncPath(dirname(path));
  } catch (error) {
    throw homeError("write", path, error);
  }
}

/** fsync of a file or folder. */
export function syncPath(path: string): void {
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export function homeError(verb: string, path: string, error: unknown): HoldfastError {
  if (error instanceof HoldfastError) return error;
  return new HoldfastError(
    "failed",
    `Cannot ${verb} ${path}: ${messageOf(error)}. Choose a folder that you may write to with --home DIR`,
    { cause: error },
  );
}
