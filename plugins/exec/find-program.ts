import { constants } from "node:fs";
import { access, open, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { ActionError } from "../../src/sdk/holdfast.ts";

interface Places {
  home: string;
  cwd: string;
  path: string;
}

/**
 * The absolute path of a program, or an error that says what is wrong with it and that nothing was started. A name
 * with a slash is taken from the agent's home; a plain one is looked up there first, then in PATH.
 */
export async function findProgram(name: string, { home, cwd, path }: Places): Promise<string> {
  const folder = await stat(cwd).catch(() => undefined);
  if (!folder?.isDirectory())
    throw refusal("not_found", `cannot run ${name}: there is no folder ${cwd} to run it in`);
  const atHome = resolve(home, name);
  const found = await stat(atHome).catch((error: { code?: string }) => error);
  if ("code" in found || !("mode" in found)) {
    const inPath = name.includes("/") ? null : Bun.which(name, { PATH: path });
    if (inPath) return inPath;
    throw missing(name, atHome, path, "code" in found ? found.code : undefined);
  }
  if (found.isDirectory()) {
    const inPath = name.includes("/") ? null : Bun.which(name, { PATH: path });
    if (inPath) return inPath;
    throw refusal("invalid", `cannot run ${atHome}: it is a folder; name the program in it`);
  }
  const executable = await access(atHome, constants.X_OK).then(
    () => true,
    () => false,
  );
  if (!executable)
    throw refusal("denied", `cannot run ${atHome}: it is not executable; run chmod +x ${atHome}`);
  return atHome;
}

function missing(name: string, atHome: string, path: string, code: string | undefined): ActionError {
  if (code === "EACCES") {
    return refusal("denied", `cannot run ${atHome}: the agent's user may not look into its folder`);
  }
  const where = name.includes("/") ? "" : `, and ${name} is not in PATH (${path})`;
  return refusal("not_found", `cannot run ${name}: there is no file ${atHome}${where}`);
}

/** Why the system would not start a program that is there. */
export async function explainStart(program: string, error: unknown): Promise<ActionError> {
  const code = (error as { code?: string }).code;
  const line = await firstLine(program);
  const interpreter = line.startsWith("#!") ? line.slice(2).trim().split(/\s/)[0] : undefined;
  if (code === "ENOENT" && interpreter) {
    return refusal(
      "not_found",
      `cannot run ${program}: its first line names ${JSON.stringify(interpreter)}, which is not there; install it or correct the line${line.endsWith("\r") ? " (it ends with a Windows line break)" : ""}`,
    );
  }
  if (code === "ENOENT") return refusal("not_found", `cannot run ${program}: it or its loader is not there`);
  if (code === "ENOEXEC") {
    return refusal(
      "invalid",
      `cannot run ${program}: it is no program for this machine; a script needs a first line like #!/bin/sh`,
    );
  }
  if (code === "EACCES" || code === "EPERM") {
    const what = interpreter
      ? `its interpreter ${interpreter} is not executable`
      : "permission denied (is it on a noexec file system?)";
    return refusal("denied", `cannot run ${program}: ${what}`);
  }
  if (code === "E2BIG")
    return refusal("invalid", `cannot run ${program}: arguments and environment are too long; use input`);
  const busy = ["ETXTBSY", "EAGAIN", "ENOMEM", "EMFILE", "ENFILE"].includes(code ?? "");
  const why =
    code === "ETXTBSY" ? "somebody is writing it just now" : ((error as Error).message ?? String(error));
  return new ActionError(`cannot run ${program}: ${why}`, {
    code: "failed",
    started: false,
    retryable: busy,
  });
}

async function firstLine(program: string): Promise<string> {
  try {
    const handle = await open(program, "r");
    try {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(256), 0, 256, 0);
      return buffer.toString("latin1", 0, bytesRead).split("\n")[0] ?? "";
    } finally {
      await handle.close();
    }
  } catch {
    return "";
  }
}

function refusal(code: string, message: string): ActionError {
  return new ActionError(message, { code, started: false, retryable: false });
}
