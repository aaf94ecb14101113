import { link, mkdir, open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { HoldfastError, messageOf, systemCode } from "../../core/errors.ts";

/** Writes a file so that after a crash it is there as a whole or not at all, replacing what was there. */
export async function writeWhole(path: string, content: string, mode: number): Promise<void> {
  await viaTemporary(path, content, mode, (temporary) => rename(temporary, path));
}

/** As writeWhole, but never replaces: false when the file exists already. */
export async function writeNew(path: string, content: string, mode: number): Promise<boolean> {
  let made = true;
  await viaTemporary(path, content, mode, async (temporary) => {
    await link(temporary, path).catch((error: unknown) => {
      if (systemCode(error) !== "EEXIST") throw error;
      made = false;
    });
    await rm(temporary);
  });
  return made;
}

async function viaTemporary(
  path: string,
  content: string,
  mode: number,
  put: (temporary: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(path);
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await mkdir(folder, { recursive: true, mode: 0o750 });
    await rm(temporary, { force: true });
    const file = await open(temporary, "wx", mode);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await put(temporary);
    await syncFolder(folder);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw new HoldfastError(
      "failed",
      `cannot write ${path}: ${messageOf(error)}; check the folder's owner, its mode and free space`,
      { cause: error },
    );
  }
}

/** A rename is durable only once its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
