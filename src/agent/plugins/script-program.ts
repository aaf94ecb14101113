import { constants } from "node:fs";
import { access, open, realpath, stat } from "node:fs/promises";
import { isAbsolute, join, sep } from "node:path";
import { messageOf, systemCode } from "../../core/errors.ts";

const ELF = "\x7fELF";

/** Where the program really is. */
export async function realProgram(folder: string, entry: string): Promise<string> {
  return await realpath(join(folder, entry));
}

/** What is wrong with the program that a manifest names, or null; said before it is started for the first time. */
export async function programProblem(folder: string, entry: string): Promise<string | null> {
  if (isAbsolute(entry) || entry.split("/").includes("..") || entry.includes("\0")) {
    return "the program must lie in the plugin's folder: write its path from there, without `..`";
  }
  try {
    const path = await realProgram(folder, entry);
    if (!path.startsWith((await realpath(folder)) + sep)) {
      return `it is a link to ${path}, which is outside of the plugin's folder: copy the program into the folder`;
    }
    if (!(await stat(path)).isFile()) return `${path} is not a file`;
    await access(path, constants.R_OK);
    return (await modeProblem(path)) ?? (await headProblem(path));
  } catch (error) {
    const path = join(folder, entry);
    if (systemCode(error) === "ENOENT") return `there is no file ${path}`;
    if (systemCode(error) === "EACCES") return `this user may not read ${path}; check its owner and mode`;
    return `${path} cannot be read: ${messageOf(error)}`;
  }
}

async function modeProblem(path: string): Promise<string | null> {
  const executable = await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
  return executable ? null : `it is not executable: run chmod +x ${path}`;
}

/** The kernel's own messages for these name the wrong file or none. */
async function headProblem(path: string): Promise<string | null> {
  const head = await firstBytes(path);
  if (head.startsWith(ELF)) return null;
  if (!head.startsWith("#!")) return "a script needs a first line like #!/bin/sh";
  const line = head.slice(2).split("\n")[0]!;
  if (line.endsWith("\r")) return "its first line ends with a Windows line break: save it with Unix ones";
  const [interpreter] = line.trim().split(/\s+/);
  if (!interpreter) return "its first line names no interpreter: write one like #!/bin/sh";
  const there = await stat(interpreter).then(
    (facts) => facts.isFile(),
    () => false,
  );
  return there
    ? null
    : `its first line names ${interpreter}, which is not there: install it or correct the line`;
}

async function firstBytes(path: string): Promise<string> {
  const file = await open(path, "r");
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(256), 0, 256, 0);
    return buffer.toString("latin1", 0, bytesRead);
  } finally {
    await file.close();
  }
}
