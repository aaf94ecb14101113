import { constants } from "node:fs";
import { type FileHandle, open, realpath, rename, rm, stat, unlink } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ActionError, defineAction, type Json, v } from "../../src/sdk/holdfast.ts";

const MAX_CONTENT = 4 * 1024 * 1024;
/** What a sandbox, or the owner of a folder, says to changes that it does not allow. */
const FIXED = new Set(["EACCES", "EPERM", "EROFS", "EXDEV", "EBUSY"]);

const settings = v.strictObject({
  path: v.pipe(
    v.string(),
    v.minLength(1),
    v.maxLength(4096),
    v.description("The file; a relative path is taken from the agent's home"),
  ),
  do: v.pipe(
    v.picklist(["append", "write", "delete"]),
    v.description("append adds to the end, write replaces the whole file at once, delete removes it"),
  ),
  content: v.pipe(
    v.optional(v.pipe(v.string(), v.maxLength(MAX_CONTENT)), ""),
    v.description("Text, exactly as it is to stand in the file"),
  ),
  mode: v.pipe(
    v.optional(v.pipe(v.string(), v.regex(/^0?[0-7]{3}$/, "an octal mode like 0640"))),
    v.description("Permissions; by default those the file has, 0640 for a new one"),
  ),
});

export default defineAction({
  name: "file",
  description: "Appends to, writes or deletes a file",
  settings,
  // The folder, for the temporary file of a replacement. In the agent's home it is the file alone: see replace.
  permissions: { write: ["${folder(settings.path)}?", "${settings.path}?"] },
  // A file may have grown for years.
  resources: { fileSize: "1024GB" },
  async run({ settings, agent, key }): Promise<Json> {
    const path = resolve(agent.home, settings.path);
    const mode = settings.mode === undefined ? undefined : Number.parseInt(settings.mode, 8);
    if (settings.do === "delete") return await remove(path);
    const bytes = Buffer.from(settings.content);
    if (settings.do === "append") await append(path, bytes, mode);
    else await replace(path, bytes, mode, key);
    return { path, bytes: bytes.length };
  },
});

async function remove(path: string): Promise<Json> {
  const deleted = await unlink(path).then(
    () => true,
    (error: unknown) => {
      if (codeOf(error) === "ENOENT") return false;
      throw refusal("delete", path, error);
    },
  );
  return { path, bytes: 0, deleted };
}

async function append(path: string, bytes: Buffer, mode: number | undefined): Promise<void> {
  const handle = await open(path, "a", mode ?? 0o640).catch((error: unknown) => {
    throw refusal("append to", path, error);
  });
  try {
    if (mode !== undefined) await setMode(handle, mode, true, "append to", path);
    await handle.appendFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Through a temporary file beside it: readers see the old or the new content, a crash leaves one of them. Where no other
 * file may be made there, in place.
 */
async function replace(path: string, bytes: Buffer, mode: number | undefined, key: string): Promise<void> {
  // A link stays a link: what it points to is replaced.
  const target = await realpath(path).catch(() => path);
  const old = await stat(target).catch(() => undefined);
  if (old?.isDirectory()) throw refusal("write", path, { code: "EISDIR" });
  const temporary = join(
    dirname(target),
    `.${basename(target).slice(0, 100)}.${Bun.hash(key).toString(36)}.tmp`,
  );
  const wanted = mode ?? (old ? old.mode & 0o7777 : 0o640);
  const handle = await open(temporary, "w", wanted).catch((error: unknown) => {
    if (old && FIXED.has(codeOf(error))) return undefined;
    throw refusal("write", path, error);
  });
  if (!handle) return await overwrite(target, bytes, mode, path);
  try {
    try {
      await setMode(handle, wanted, mode !== undefined, "write", path);
      await handle.writeFile(bytes);
      if (old) await keepOwner(handle, old);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error instanceof ActionError ? error : refusal("write", path, error);
  }
  await syncFolder(dirname(target));
}

async function overwrite(
  target: string,
  bytes: Buffer,
  mode: number | undefined,
  path: string,
): Promise<void> {
  const handle = await open(target, constants.O_WRONLY).catch((error: unknown) => {
    throw refusal("write", path, error);
  });
  try {
    if (mode !== undefined) await setMode(handle, mode, true, "write", path);
    await handle.truncate(0);
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Before the content: where the host's sandbox does not permit modes to be changed, nothing has been done yet. */
async function setMode(
  handle: FileHandle,
  mode: number,
  isRequired: boolean,
  what: string,
  path: string,
): Promise<void> {
  if (((await handle.stat()).mode & 0o7777) === mode) return;
  await handle.chmod(mode).catch((error: unknown) => {
    if (!isRequired) return;
    throw refusal(what, path, error, `its mode cannot be set to 0${mode.toString(8)} here; leave out mode`);
  });
}

/** Only root may give a file away; for others the writer owns the new file. */
async function keepOwner(handle: FileHandle, old: { uid: number; gid: number }): Promise<void> {
  await handle.chown(old.uid, old.gid).catch(() => {});
}

/** Makes the rename durable. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

function codeOf(error: unknown): string {
  return String((error as { code?: unknown }).code ?? "");
}

/** An error from before anything was changed. */
function refusal(what: string, path: string, error: unknown, why?: string): ActionError {
  const known: Record<string, [code: string, why: string]> = {
    ENOENT: ["not_found", "its folder does not exist: make it first"],
    ENOTDIR: ["not_found", "a part of its path is not a folder"],
    EACCES: ["denied", "permission denied: the agent's user needs the right to write there"],
    EPERM: ["denied", "the system does not permit it"],
    EROFS: ["denied", "the file system is read-only"],
    EISDIR: ["invalid", "it is a folder"],
    ENOSPC: ["failed", "no space is left on the device"],
  };
  const code = codeOf(error);
  const [name, reason] = known[code] ?? ["failed", (error as Error).message ?? code];
  return new ActionError(`cannot ${what} ${path}: ${why ?? reason}`, {
    code: name,
    started: false,
    retryable: name === "failed",
  });
}
