import { closeSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeSync } from "node:fs";
import { parseDocument } from "yaml";

/** Sets one key of a YAML file, keeping its comments and its order; the file is replaced in one step. */
export function setConfigValue(file: string, path: string[], value: string): void {
  const document = parseDocument(readFileSync(file, "utf8"));
  if (document.getIn(path) === value) return;
  document.setIn(path, value);
  const next = `${file}.new-${process.pid}`;
  const handle = openSync(next, "w", statSync(file).mode & 0o777);
  try {
    writeSync(handle, document.toString());
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(next, file);
}
