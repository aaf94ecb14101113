/** Each plugin's page names the settings that there are, and its sample is valid. */
import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";
import { type PluginDefinition, v } from "../src/sdk/holdfast.ts";

const folders = readdirSync(import.meta.dir, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

/** The `with` of the one trigger, step or output in a sample. */
function settingsIn(sample: unknown): unknown {
  if (typeof sample !== "object" || sample === null) return undefined;
  if (Object.hasOwn(sample, "with")) return (sample as { with: unknown }).with;
  return Object.values(sample)
    .map(settingsIn)
    .find((found) => found !== undefined);
}

test.each(folders)("%s", async (folder) => {
  const page = await Bun.file(join(import.meta.dir, folder, "README.md")).text();
  const overview = await Bun.file(join(import.meta.dir, "README.md")).text();
  const row = overview.split("\n").find((line) => line.includes(`](${folder}/README.md)`));
  const { default: plugin } = (await import(join(import.meta.dir, folder, "plugin.ts"))) as {
    default: PluginDefinition & { settings: { entries: Record<string, unknown> } };
  };
  const named = [...page.matchAll(/^\| `(\w+)` +\|/gm)].map((match) => match[1]);
  expect(named).toEqual(Object.keys(plugin.settings.entries));
  const sample = /```yaml\n(.*?)```/s.exec(page)?.[1];
  expect(v.safeParse(plugin.settings, settingsIn(parse(sample!))).issues).toBeUndefined();
  expect(row?.split(/ *\| */).slice(1, 4)).toEqual([
    `[\`${plugin.name}\`](${folder}/README.md)`,
    plugin.kind,
    plugin.description,
  ]);
});
