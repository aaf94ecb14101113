import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject } from "../../model/json.ts";
import type { CatalogPlugin, PluginEntry } from "../../model/plugin.ts";
import { defineAction, defineOutput, v } from "../../sdk/holdfast.ts";
import { type TestBench, testBench } from "../../testing/worker-bench.ts";
import { readDocument } from "../config/document.ts";
import { openCatalog } from "./catalog.ts";
import type { ShippedPlugin } from "./shipped.ts";

let bench: TestBench;
let described: PluginEntry[];
beforeEach(() => {
  bench = testBench();
  described = [];
});
afterEach(() => bench.close());

const settings = v.strictObject({
  path: v.pipe(v.string(), v.description("where")),
  do: v.optional(v.picklist(["append", "write"]), "append"),
  size: v.optional(v.pipe(v.number(), v.minValue(1, "at least 1"))),
  nested: v.optional(v.strictObject({ inner: v.string() })),
});
const action = defineAction({
  name: "file",
  description: "acts",
  settings,
  effect: "idempotent",
  async run() {},
});
const output = defineOutput({ name: "file", description: "keeps", settings, async write() {} });
const shipped: ShippedPlugin[] = [
  { kind: "action", name: "file", load: async () => ({ default: action }) },
  { kind: "output", name: "file", load: async () => ({ default: output }) },
];
const open = () =>
  openCatalog({
    pluginsDir: join(bench.dir, "data-plugins"),
    cacheDir: join(bench.dir, "cache"),
    readDocument,
    shipped,
    describe: (entry) => {
      described.push(entry);
      return bench.workers.describe(entry);
    },
  });
const drop = (path: string, source: string) => {
  const file = join(bench.dir, "data-plugins", path);
  mkdirSync(join(file, ".."), { recursive: true });
  writeFileSync(file, source);
  return file;
};
const greet = (name: string, schema = "v.strictObject({ to: v.string(), times: v.optional(v.number()) })") =>
  `import { defineAction, v } from "holdfast";
   export default defineAction({ name: "${name}", description: "greets", settings: ${schema}, async run() {} });`;

describe("shipped plugins", () => {
  test("are known by kind and name", async () => {
    const catalog = await open();
    expect(catalog.get("action", "file")).toMatchObject({
      entry: { shipped: "action/file" },
      manifest: { description: "acts", effect: "idempotent", settings: { required: ["path"] } },
    });
    expect(catalog.get("output", "file")?.manifest.description).toBe("keeps");
    expect(catalog.get("trigger", "file")).toBeUndefined();
    expect(catalog.problems()).toEqual([]);
    expect(catalog.missing("trigger", "file")).toContain('there is no trigger plugin "file"');
  });

  test("of the executable all load, each under its own name", async () => {
    const catalog = await openCatalog({
      pluginsDir: join(bench.dir, "none"),
      cacheDir: join(bench.dir, "cache"),
      readDocument,
      describe: bench.workers.describe,
    });
    for (const { manifest, entry } of catalog.list()) {
      expect(entry).toEqual({ shipped: `${manifest.kind}/${manifest.name}` });
      expect(manifest.settings.type).toBe("object");
    }
    expect(catalog.known("trigger").toSorted()).toEqual([
      "disk",
      "file-tail",
      "http-probe",
      "interval",
      "webhook",
    ]);
    expect(catalog.known("action").toSorted()).toEqual(["exec", "file", "http"]);
    expect(catalog.known("output")).toEqual(["file"]);
    const { settings: described } = await bench.workers.describe({ shipped: "action/exec" });
    expect(described).toEqual(catalog.get("action", "exec")!.manifest.settings);
  });
});

describe("dropped plugins", () => {
  test("load from a file or a folder; what cannot be used is a problem with its reason", async () => {
    drop("one.ts", greet("one"));
    drop("two/plugin.ts", `import { name } from "./name.ts";\n${greet("x").replace('"x"', "name")}`);
    drop("two/name.ts", `export const name = "two";`);
    drop("three/index.ts", greet("three"));
    drop("one.test.ts", "throw 1");
    drop("notes.md", "# not a plugin");
    const broken = {
      throws: drop("throws.ts", `throw new Error("no luck");`),
      nothing: drop("nothing.ts", `export const x = 1;`),
      clash: drop("clash.ts", greet("file")),
      twice: drop("zz-twice.ts", greet("one")),
      wrong: drop("wrong.ts", `export default { kind: "action", name: "wrong" };`),
      missing: drop("missing.ts", `import "no-such-package-at-all"; ${greet("missing")}`),
    };
    mkdirSync(join(bench.dir, "data-plugins", "empty"));
    const catalog = await open();
    expect(catalog.known("action").toSorted()).toEqual(["file", "one", "three", "two"]);
    const problems = new Map(catalog.problems().map(({ path, reason }) => [path, reason]));
    expect(problems.get(broken.throws)).toContain("no luck");
    expect(problems.get(broken.nothing)).toContain("no default export");
    expect(problems.get(broken.clash)).toContain("the name of a shipped plugin");
    expect(problems.get(broken.twice)).toContain("already taken by");
    expect(problems.get(broken.wrong)).toContain("has no description");
    expect(problems.get(broken.missing)).toContain("no-such-package-at-all");
    expect(problems.get(join(bench.dir, "data-plugins", "empty"))).toContain("no plugin.ts or index.ts");
    expect(problems.size).toBe(7);
    expect(catalog.missing("action", "throws")).toContain("no luck");
  }, 15_000);

  test("are described once, and again when any of their files changes", async () => {
    drop("two/plugin.ts", `import { name } from "./name.ts";\n${greet("x").replace('"x"', "name")}`);
    drop("two/name.ts", `export const name = "two";`);
    await open();
    await open();
    expect(described).toHaveLength(1);
    drop("two/name.ts", `export const name = "deux";`);
    expect((await open()).known("action")).toContain("deux");
    expect(described).toHaveLength(2);
    const [cached] = readdirSync(join(bench.dir, "cache", "manifests"));
    writeFileSync(join(bench.dir, "cache", "manifests", cached!), "{ damaged");
    await open();
    await open();
    expect(described.length).toBeLessThanOrEqual(3);
    rmSync(join(bench.dir, "cache"), { recursive: true });
    expect((await open()).known("action")).toContain("deux");
  });
});

describe("settings", () => {
  const problems = async (
    plugin: (c: Awaited<ReturnType<typeof open>>) => CatalogPlugin,
    given: JsonObject,
  ) => {
    const catalog = await open();
    return catalog.settingsProblems(plugin(catalog), given);
  };
  const ofShipped = (given: JsonObject) => problems((catalog) => catalog.get("action", "file")!, given);

  test("of shipped plugins are checked by the plugin's own schema", async () => {
    expect(await ofShipped({ path: "x" })).toEqual([]);
    expect(await ofShipped({ pat: "x", do: "apend", size: 0, nested: { iner: "x" } })).toEqual([
      { path: ["path"], message: "is missing", known: [] },
      {
        path: ["do"],
        message: "is not one of the known values",
        expected: '"append" | "write"',
        actual: '"apend"',
        known: ["append", "write"],
      },
      { path: ["size"], message: "at least 1", actual: "0", known: [] },
      { path: ["nested", "inner"], message: "is missing", known: [] },
      { path: ["nested", "iner"], message: "unknown setting", known: ["inner"] },
      { path: ["pat"], message: "unknown setting", known: ["path", "do", "size", "nested"] },
    ]);
  });

  test("with expressions are left to the start of the step", async () => {
    expect(await ofShipped({ path: "x", size: "${{ params.size }}", nested: "${{ event.data }}" })).toEqual(
      [],
    );
  });

  test("of dropped plugins are checked by their JSON Schema", async () => {
    drop("one.ts", greet("one"));
    const one = (catalog: Awaited<ReturnType<typeof open>>) => catalog.get("action", "one")!;
    expect(await problems(one, { to: "x", times: 2 })).toEqual([]);
    expect(await problems(one, { too: "x", times: "2" })).toEqual([
      { path: ["to"], message: "is missing", known: [] },
      { path: ["too"], message: "unknown setting", known: ["to", "times"] },
      { path: ["times"], message: "has the wrong type", expected: "number", actual: '"2"', known: [] },
    ]);
  });
});
