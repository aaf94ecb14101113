import { type FileHandle, open, realpath, rename, rm, stat, unlink } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ActionError, defineAction, type Json, v } from "../../src/sdk/holdfast.ts";

const MAX_CONTENT = 4 * 1024 * 1024;

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
    await handle.appendFile(bytes);
    if (mode !== undefined) await handle.chmod(mode);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Through a temporary file beside it: readers see the old or the new content, a crash leaves one of them. */
async function replace(path: string, bytes: Buffer, mode: number | undefined, key: string): Promise<void> {
  // A link stays a link: what it points to is replaced.
  const target = await realpath(path).catch(() => path);
  const old = await stat(target).catch(() => undefined);
  if (old?.isDirectory()) throw refusal("write", path, { code: "EISDIR" });
  const temporary = join(
    dirname(target),
    `.${basename(target).slice(0, 100)}.${Bun.hash(key).toString(36)}.tmp`,
  );
  try {
    const handle = await open(temporary, "w", 0o600);
    try {
      await handle.writeFile(bytes);
      await handle.chmod(mode ?? (old ? old.mode & 0o7777 : 0o640));
      if (old) await keepOwner(handle, old);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw refusal("write", path, error);
  }
  await syncFolder(dirname(target));
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
function refusal(what: string, path: string, error: unknown): ActionError {
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
  const [name, why] = known[code] ?? ["failed", (error as Error).message ?? code];
  return new ActionError(`cannot ${what} ${path}: ${why}`, {
    code: name,
    started: false,
    retryable: name === "failed",
  });
}
