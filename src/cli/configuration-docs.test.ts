import { describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatProblem } from "../model/config-problem.ts";
import { configSchema } from "../model/config.ts";
import { celChecks } from "../agent/config/checks.ts";
import { loadConfig } from "../agent/config/load.ts";
import { lazyPluginChecks } from "./plugin-checks.ts";
import { knownKeys, viewOf } from "../agent/config/schema-walk.ts";

const REPOSITORY = join(import.meta.dir, "..", "..");
const PLUGINS = lazyPluginChecks(null);

async function yamlBlocks(file: string): Promise<{ text: string; layer: boolean }[]> {
  const text = await Bun.file(join(REPOSITORY, file)).text();
  return [...text.matchAll(/^```yaml( conf\.d)?\n([\s\S]*?)^```$/gm)].map((match) => ({
    text: match[2]!,
    layer: match[1] !== undefined,
  }));
}

async function problemsOf(base: string, layer: string): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), "holdfast-docs-"));
  try {
    mkdirSync(join(folder, "conf.d"));
    writeFileSync(join(folder, "agent.yaml"), base);
    writeFileSync(join(folder, "conf.d", "50.yaml"), layer);
    const { problems } = await loadConfig({
      configFile: join(folder, "agent.yaml"),
      confDir: join(folder, "conf.d"),
      env: {},
      checks: { expressions: celChecks, plugins: PLUGINS },
    });
    return problems.map(formatProblem);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("the YAML in the documentation is valid", async () => {
  for (const file of [
    "docs/configuration.md",
    "docs/rules.md",
    "docs/pipelines.md",
    "docs/schedules.md",
    "README.md",
  ]) {
    const blocks = await yamlBlocks(file);
    test(`${file} has some`, () => expect(blocks.length).toBeGreaterThan(0));
    // A layer of conf.d goes over the large example, which is the longest one.
    const example = blocks.map((block) => block.text).sort((a, b) => b.length - a.length)[0] ?? "";
    for (const [index, { text, layer }] of blocks.entries()) {
      test(`${file}, example ${index + 1}`, async () =>
        expect(await problemsOf(layer ? example : text, layer ? text : "")).toEqual([]));
    }
  }
});

test("docs/configuration.md has every section and every key of the schema", async () => {
  const text = await Bun.file(join(REPOSITORY, "docs", "configuration.md")).text();
  for (const [section, schema] of Object.entries(viewOf(configSchema).entries!)) {
    const reference = new RegExp(`^### ${section}\\n([\\s\\S]*?)(?=^### |$(?![\\s\\S]))`, "m").exec(
      text,
    )?.[1];
    expect(reference, section).toBeDefined();
    const inner = schema.wrapped ?? schema;
    for (const key of knownKeys(inner) ?? knownKeys(inner.item ?? inner.value) ?? []) {
      expect(reference, `${section}.${key}`).toMatch(new RegExp(`^\\| \`${key}\` +\\|`, "m"));
    }
  }
});
