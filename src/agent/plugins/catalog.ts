import { basename } from "node:path";
import { messageOf } from "../../core/errors.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type { CatalogPlugin, Manifest, PluginEntry, PluginKind } from "../../model/plugin.ts";
import { readDefinition } from "../../sdk/definition.ts";
import type { PluginDefinition } from "../../sdk/holdfast.ts";
import { manifestOf } from "../../sdk/manifest.ts";
import { type SettingsIssue, settingsIssues } from "../../sdk/settings.ts";
import { type DropProblem, type DroppedPlugin, droppedManifest, findDropped } from "./dropped.ts";
import { isObject, schemaIssues } from "../../model/settings-schema.ts";
import { type ReadDocument, readScriptManifest, SCRIPT_MANIFEST } from "./script-manifest.ts";
import { SHIPPED, shippedId, type ShippedPlugin } from "./shipped.ts";

export type { DropProblem, SettingsIssue };

export interface CatalogOptions {
  /** data/plugins of the agent's home. */
  pluginsDir: string;
  /** data/cache of the agent's home. */
  cacheDir: string;
  /** Reads the manifest of a plugin in a worker. */
  describe: (entry: PluginEntry) => Promise<Manifest>;
  /** Reads a script's plugin.yaml. */
  readDocument: ReadDocument;
  shipped?: readonly ShippedPlugin[];
}

/** All plugins of this agent, by kind and name. */
export interface Catalog {
  get(kind: PluginKind, name: string): CatalogPlugin | undefined;
  list(): CatalogPlugin[];
  known(kind: PluginKind): string[];
  /** Why there is no such plugin, for a person. */
  missing(kind: PluginKind, name: string): string;
  /** Plugins in data/plugins that cannot be used, with the reason. */
  problems(): DropProblem[];
  /** What is wrong with the settings in a configuration. Values with `${{ … }}` are known only when a step starts. */
  settingsProblems(plugin: CatalogPlugin, settings: JsonObject): SettingsIssue[];
}

/** Reads every manifest. A dropped plugin that cannot be used becomes a problem; the others are there. */
export async function openCatalog(options: CatalogOptions): Promise<Catalog> {
  const shipped = options.shipped ?? SHIPPED;
  const definitions = new Map<string, PluginDefinition>();
  const plugins = new Map<string, CatalogPlugin>();
  // Shipped plugins are part of this program, so loading them here gives a plugin no right that it has not.
  for (const plugin of shipped) {
    const id = shippedId(plugin.kind, plugin.name);
    const definition = readDefinition(await plugin.load());
    definitions.set(id, definition);
    plugins.set(id, { manifest: manifestOf(definition), entry: { shipped: id } });
  }
  const { found, problems } = await findDropped(options.pluginsDir);
  for (const dropped of found) {
    const reason = await addDropped(plugins, dropped, options);
    if (reason !== undefined) problems.push({ path: dropped.file, reason });
  }

  return {
    get: (kind, name) => plugins.get(shippedId(kind, name)),
    list: () => [...plugins.values()],
    known: (kind) => namesOf(plugins, kind),
    missing: (kind, name) => missingText(plugins, problems, kind, name),
    problems: () => [...problems],
    settingsProblems(plugin, settings) {
      const definition = "shipped" in plugin.entry ? definitions.get(plugin.entry.shipped) : undefined;
      const issues = definition
        ? settingsIssues(definition.settings, settings)
        : schemaIssues(plugin.manifest.settings, settings);
      return issues.filter((issue) => !isTemplate(settings, issue.path));
    },
  };
}

/** Adds a dropped plugin, or gives the reason why not. */
async function addDropped(
  plugins: Map<string, CatalogPlugin>,
  dropped: DroppedPlugin,
  options: CatalogOptions,
): Promise<string | undefined> {
  let plugin: CatalogPlugin;
  try {
    plugin = await readDropped(dropped, options);
  } catch (error) {
    return messageOf(error);
  }
  const { kind, name } = plugin.manifest;
  const id = shippedId(kind, name);
  const other = plugins.get(id);
  if (other) return `${kind} ${name} is ${ownerText(other.entry)}: give it another name`;
  plugins.set(id, plugin);
  return undefined;
}

async function readDropped(dropped: DroppedPlugin, options: CatalogOptions): Promise<CatalogPlugin> {
  const { file, root } = dropped;
  if (basename(file) !== SCRIPT_MANIFEST) {
    return { manifest: await droppedManifest(dropped, options.cacheDir, options.describe), entry: { file } };
  }
  const { manifest, script } = await readScriptManifest(root, options.readDocument);
  return { manifest, entry: { script } };
}

function ownerText(entry: PluginEntry): string {
  if ("shipped" in entry) return "the name of a shipped plugin";
  return `already taken by ${"file" in entry ? entry.file : entry.script.folder}`;
}

function namesOf(plugins: Map<string, CatalogPlugin>, kind: PluginKind): string[] {
  return [...plugins.values()]
    .filter(({ manifest }) => manifest.kind === kind)
    .map(({ manifest }) => manifest.name);
}

function missingText(
  plugins: Map<string, CatalogPlugin>,
  problems: DropProblem[],
  kind: PluginKind,
  name: string,
): string {
  const known = namesOf(plugins, kind).join(", ") || "none";
  // The name is often that of the file whose plugin could not be loaded.
  const near = problems.find(({ path }) =>
    path.split("/").some((part) => part.replace(/\.\w+$/, "") === name),
  );
  const why = near ? `; ${near.path} is not usable: ${near.reason}` : "";
  return `there is no ${kind} plugin "${name}" (known: ${known})${why}`;
}

/** True when a value on the way to this place, or the place itself, is filled in by an expression. */
function isTemplate(settings: JsonObject, path: (string | number)[]): boolean {
  let here: Json | undefined = settings;
  for (const key of path) {
    if (Array.isArray(here)) here = here[Number(key)];
    else if (isObject(here)) here = here[String(key)];
    else break;
  }
  return typeof here === "string" && here.includes("${{");
}
