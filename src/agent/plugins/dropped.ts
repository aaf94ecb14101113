import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { HoldfastError, messageOf, systemCode } from "../../core/errors.ts";
import { VERSION } from "../../core/version.ts";
import type { Manifest, PluginEntry } from "../../model/plugin.ts";

const ENTRY_NAMES = ["plugin.yaml", "plugin.ts", "index.ts", "plugin.js", "index.js"];
const MAX_PLUGINS = 1000;
const MAX_FILES = 2000;
const MAX_BYTES = 32 * 1024 * 1024;

/** A plugin that lies in data/plugins. */
export interface DroppedPlugin {
  /** Entry file, absolute. */
  file: string;
  /** What belongs to it: the file, or its folder. */
  root: string;
}

export interface DropProblem {
  /** The file or folder, absolute. */
  path: string;
  reason: string;
}

/** Finds `<name>.ts`, `<name>/plugin.ts`, `<name>/index.ts` and scripts (`<name>/plugin.yaml`), in the order of their names. */
export async function findDropped(
  folder: string,
): Promise<{ found: DroppedPlugin[]; problems: DropProblem[] }> {
  const found: DroppedPlugin[] = [];
  const problems: DropProblem[] = [];
  for (const name of (await entriesOf(folder)).toSorted()) {
    const path = join(folder, name);
    if (name.startsWith(".") || name === "node_modules") continue;
    if (found.length >= MAX_PLUGINS) {
      problems.push({ path, reason: `more than ${MAX_PLUGINS} plugins: this one is not loaded` });
      break;
    }
    try {
      const entry = await entryOf(path, name);
      if (entry) found.push({ file: entry, root: path });
    } catch (error) {
      problems.push({ path, reason: messageOf(error) });
    }
  }
  return { found, problems };
}

/** The manifest of a dropped plugin: from the cache when nothing of it has changed, else from `describe`. */
export async function droppedManifest(
  plugin: DroppedPlugin,
  cacheDir: string,
  describe: (entry: PluginEntry) => Promise<Manifest>,
): Promise<Manifest> {
  const cached = join(cacheDir, "manifests", `${await contentHash(plugin)}.json`);
  const known = await readManifest(cached);
  if (known) return known;
  const manifest = await describe({ file: plugin.file });
  await keepManifest(cached, manifest).catch(() => {
    // Without a cache the plugin is described again at the next start: slower, not wrong.
  });
  return manifest;
}

async function entriesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [];
    throw new HoldfastError("failed", `cannot read the plugin folder ${folder}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function entryOf(path: string, name: string): Promise<string | undefined> {
  const facts = await stat(path);
  if (facts.isFile()) return /(?<!\.d|\.test)\.(ts|js|mjs)$/.test(name) ? path : undefined;
  if (!facts.isDirectory()) return undefined;
  const inside = new Set(await readdir(path));
  const entry = ENTRY_NAMES.find((candidate) => inside.has(candidate));
  if (entry) return join(path, entry);
  throw new HoldfastError(
    "invalid",
    `the folder has no plugin.ts or index.ts, and no plugin.yaml of a script`,
  );
}

/** Of every file that belongs to the plugin, with their names, and of our version: a newer one may describe differently. */
async function contentHash(plugin: DroppedPlugin): Promise<string> {
  const hash = createHash("sha256").update(`${VERSION}\0permissions\0${plugin.file}\0`);
  let bytes = 0;
  for (const file of await filesUnder(plugin.root)) {
    const content = await readFile(file);
    bytes += content.length;
    if (bytes > MAX_BYTES)
      throw new HoldfastError("too_large", `the plugin has more than ${MAX_BYTES} bytes`);
    hash.update(`${relative(plugin.root, file)}\0${content.length}\0`).update(content);
  }
  return hash.digest("hex");
}

async function filesUnder(root: string): Promise<string[]> {
  if ((await stat(root)).isFile()) return [root];
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  if (files.length > MAX_FILES)
    throw new HoldfastError("too_large", `the plugin has more than ${MAX_FILES} files`);
  return files.toSorted();
}

async function readManifest(path: string): Promise<Manifest | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as Manifest;
  } catch {
    // Absent or damaged: it is made again.
    return undefined;
  }
}

async function keepManifest(path: string, manifest: Manifest): Promise<void> {
  await mkdir(join(path, ".."), { recursive: true, mode: 0o750 });
  const draft = `${path}.${process.pid}`;
  try {
    await writeFile(draft, JSON.stringify(manifest), { mode: 0o640 });
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw error;
  }
}
