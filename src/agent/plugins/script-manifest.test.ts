import { afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readDocument } from "../config/document.ts";
import { openCatalog } from "./catalog.ts";
import { readScriptManifest } from "./script-manifest.ts";

let plugins: string;
let folder: string;
beforeEach(() => {
  plugins = mkdtempSync(join(tmpdir(), "holdfast-scripts-"));
  folder = join(plugins, "greet");
  mkdirSync(folder);
  script("greet.sh", "#!/bin/sh\necho hello\n");
});
afterEach(() => rmSync(plugins, { recursive: true, force: true }));

function script(name: string, text: string, mode = 0o755): void {
  writeFileSync(join(folder, name), text);
  chmodSync(join(folder, name), mode);
}
const MINIMAL = "name: greet\nkind: action\ndescription: Greets\nruntime: exec\nentry: greet.sh\n";
const manifest = (text: string) => writeFileSync(join(folder, "plugin.yaml"), text);
const read = () => readScriptManifest(folder, readDocument);
const problems = async (text: string): Promise<string[]> => {
  manifest(text);
  const error = await read().then(
    () => new Error("nothing is wrong"),
    (error: Error) => error,
  );
  return error.message.replaceAll(`${folder}/`, "").split("\n");
};

test("the least that a script must say, and what follows from it", async () => {
  manifest(MINIMAL);
  const { manifest: declared, script: entry } = await read();
  expect(declared).toMatchObject({ name: "greet", kind: "action", description: "Greets", resources: {} });
  expect(declared.settings).toEqual({ type: "object", additionalProperties: false });
  expect(declared.permissions).toMatchObject({ read: [], exec: [], icmp: false });
  expect(entry).toEqual({ folder, entry: join(folder, "greet.sh"), mode: "once", plain: false, env: {} });
});

test("everything that it may say", async () => {
  manifest(`
name: greet
kind: trigger
description: Greets
runtime: exec
entry: greet.sh
plain: true
settings:
  type: object
  properties: { path: { type: string }, every: { type: integer, minimum: 1, default: 5 } }
  required: [path]
permissions:
  read: ["\${folder(settings.path)}"]
  exec: ["@system"]
resources: { memory: 64MB, output: 1MB }
env: { LC_ALL: C }
`);
  const { manifest: declared, script: entry } = await read();
  expect(declared.settings).toMatchObject({ required: ["path"], additionalProperties: false });
  expect(declared.permissions).toMatchObject({ read: ["${folder(settings.path)}"], exec: ["@system"] });
  expect(declared.resources).toEqual({ memory: "64MB", output: "1MB" });
  expect(entry).toMatchObject({ mode: "lines", plain: true, env: { LC_ALL: "C" } });
});

test("each mistake has its place and the nearest known name", async () => {
  expect(await problems(MINIMAL.replace("entry:", "enty:").replace("action", "acton"))).toEqual([
    expect.stringMatching(/^plugin\.yaml:5:1: enty: unknown key "enty".*did you mean "entry"\?$/),
    expect.stringMatching(/^plugin\.yaml:2:7: kind: invalid value.*did you mean "action"\?$/),
  ]);
  expect(await problems(`${MINIMAL}permissions:\n  raed: [/etc]\n`)).toEqual([
    expect.stringMatching(/^plugin\.yaml:7:3: permissions\.raed: unknown key.*did you mean "read"\?$/),
  ]);
  expect(await problems(`${MINIMAL}resources: { memory: 5 }\nenv: { "A B": x }\n`)).toEqual([
    expect.stringContaining("plugin.yaml:6:22: resources.memory: wrong type"),
    expect.stringContaining("plugin.yaml:7:8: env"),
  ]);
  expect(await problems("name: [")).toEqual([expect.stringMatching(/^plugin\.yaml:1:\d+: not valid YAML/)]);
});

test.each<[string, string, RegExp]>([
  ["a relative path", "permissions: { read: [etc] }", /6:23: permissions\.read\[0\].*absolute path/],
  ["`..`", "permissions: { write: [/var/../etc] }", /absolute path without `\.` or `\.\.`/],
  ["an impossible size", "resources: { memory: 1KB }", /resources\.memory.*at least 1MB/],
  ["an effect of a trigger", "effect: ask", /6:1: effect: only an action has an effect/],
  ["a plain action", "plain: true", /6:1: plain: only the lines of a trigger/],
  ["calls of an action that stays", "mode: lines\ncalls: true", /7:1: calls: only an action with a process/],
  ["a variable of ours", "env: { HOLDFAST_KEY: x }", /6:8: env\.HOLDFAST_KEY: names with HOLDFAST_/],
  ["an unknown setting", 'permissions: { read: ["${settings.pth}"] }', /there is no setting "pth"/],
  ["an odd schema", "settings: { type: object, propertys: {} }", /6:38: .*did you mean "properties"\?/],
  ["a schema of text", "settings: { type: string }", /the type must be "object"/],
])("%s is refused", async (_, line, message) => {
  const manifest = line.startsWith("effect") ? MINIMAL.replace("action", "trigger") : MINIMAL;
  const found = await problems(`${manifest}${line}\n`);
  expect(found).toHaveLength(1);
  expect(found[0]).toMatch(message);
});

test.each<[string, () => unknown, RegExp]>([
  ["absent", () => rmSync(join(folder, "greet.sh")), /there is no file/],
  ["not executable", () => script("greet.sh", "#!/bin/sh\n", 0o644), /chmod \+x/],
  ["no script", () => script("greet.sh", "echo hi\n"), /a first line like #!\/bin\/sh/],
  ["from Windows", () => script("greet.sh", "#!/bin/sh\r\n"), /Windows line break/],
  [
    "without its interpreter",
    () => script("greet.sh", "#!/no/such/sh\n"),
    /\/no\/such\/sh, which is not there/,
  ],
  [
    "a link out of the folder",
    () => {
      rmSync(join(folder, "greet.sh"));
      symlinkSync("/bin/sh", join(folder, "greet.sh"));
    },
    /outside of the plugin's folder/,
  ],
  [
    "a folder",
    () => {
      rmSync(join(folder, "greet.sh"));
      mkdirSync(join(folder, "greet.sh"));
    },
    /is not a file/,
  ],
])("a program that is %s is told before it is started", async (_, arrange, message) => {
  arrange();
  expect(await problems(MINIMAL)).toEqual([expect.stringMatching(message)]);
});

test("a program outside of the folder is refused", async () => {
  for (const entry of ["/bin/sh", "../greet/greet.sh"]) {
    expect(await problems(MINIMAL.replace("greet.sh", entry))).toEqual([
      expect.stringMatching(/^plugin\.yaml:5:8: entry: the program must lie in the plugin's folder/),
    ]);
  }
});

test("the catalog finds it without a worker, and checks settings by its schema", async () => {
  const settings = "settings: { type: object, properties: { who: { type: string, maxLength: 3 } } }\n";
  manifest(MINIMAL + settings);
  mkdirSync(join(plugins, "broken"));
  writeFileSync(join(plugins, "broken", "plugin.yaml"), "name: broken\n");
  const catalog = await openCatalog({
    pluginsDir: plugins,
    cacheDir: join(plugins, "cache"),
    readDocument,
    shipped: [],
    describe: () => Promise.reject(new Error("nothing is to be described")),
  });
  const plugin = catalog.get("action", "greet")!;
  expect(plugin.entry).toMatchObject({ script: { entry: join(folder, "greet.sh") } });
  expect(catalog.settingsProblems(plugin, { who: "me" })).toEqual([]);
  expect(catalog.settingsProblems(plugin, { who: "everybody", whom: 1 }).map((it) => it.message)).toEqual([
    "at most 3 characters",
    "unknown setting",
  ]);
  const [problem] = catalog.problems();
  expect(problem?.path).toBe(join(plugins, "broken", "plugin.yaml"));
  expect(problem?.reason).toContain('plugin.yaml:1:1: kind: the key "kind" is missing');
});

test("the manifest in docs/scripts.md is right", async () => {
  const docs = await Bun.file(join(import.meta.dir, "../../../docs/scripts.md")).text();
  const [, example] = /```yaml\n([\s\S]*?)```/.exec(docs)!;
  script("rotate-file.sh", "#!/bin/sh\n");
  manifest(example!);
  const { manifest: declared, script: entry } = await read();
  expect(declared).toMatchObject({
    name: "rotate-file",
    effect: "idempotent",
    resources: { wallTime: "30s" },
  });
  expect(entry).toMatchObject({ mode: "once", env: { LC_ALL: "C.UTF-8" } });
});
