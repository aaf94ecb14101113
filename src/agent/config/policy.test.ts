import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatProblem } from "../../model/config-problem.ts";
import { DEFAULT_POLICY } from "../../model/policy.ts";
import { agentHome, prepareHome } from "./home.ts";
import { loadPolicy, policyFiles, policyText } from "./policy.ts";
import { protectedPlaces, realPlace } from "./policy-places.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "holdfast-policy-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function write(text: string | Uint8Array, name = "policy.yaml"): string {
  const file = join(dir, name);
  writeFileSync(file, text);
  return file;
}

async function problemsOf(text: string | Uint8Array): Promise<string[]> {
  const loaded = await loadPolicy([write(text)]);
  expect(loaded.policy).toBeNull();
  expect(loaded.problem).toStartWith(`no plugin may start, because the policy ${dir}/policy.yaml has `);
  return loaded.problems.map((problem) => formatProblem(problem).replace(`${dir}/`, ""));
}

test("no file: the default, and who could make one", async () => {
  const loaded = await loadPolicy([join(dir, "a", "policy.yaml"), join(dir, "policy.yaml")]);
  expect(loaded).toEqual({ policy: DEFAULT_POLICY, path: null, problems: [], problem: null, writable: true });
  expect(policyText(loaded)).toBe("policy: none, every plugin gets what it asks for; writable by the agent");
});

test("the first file that is there counts, filled with defaults", async () => {
  const home = agentHome(dir, "web-01");
  prepareHome(home);
  mkdirSync(join(dir, "etc", "web-01"), { recursive: true });
  const files = policyFiles(home, join(dir, "etc"));
  writeFileSync(home.policyFile, "sandbox: off\n");
  expect((await loadPolicy(files)).path).toBe(home.policyFile);
  const text = `sandbox: strict
plugins:
  block: [bad-*]
  grants:
    - plugins: ["*"]
      permissions: { read: ["\${home}/data-in", "@system"], icmp: false }
      resources: { memory: 64MB, cpu: 0.25 }
host: { operations: ["systemd.restart:*.service"] }
`;
  writeFileSync(files[0]!, text);
  const { policy, path, problems } = await loadPolicy(files);
  expect({ path, problems }).toEqual({ path: files[0]!, problems: [] });
  expect(policy).toEqual({
    sandbox: "strict",
    plugins: {
      allow: [],
      block: ["bad-*"],
      on_more: "refuse",
      grants: [
        {
          plugins: ["*"],
          // What a rule does not name is no limit: no empty lists appear here.
          permissions: { read: ["${home}/data-in", "@system"], icmp: false },
          resources: { memory: "64MB", cpu: 0.25 },
        },
      ],
    },
    secrets: { environment: [] },
    host: { operations: ["systemd.restart:*.service"], simulate: false },
  });
});

test("an empty file is a policy without a word", async () => {
  expect((await loadPolicy([write("# nothing yet\n")])).policy).toEqual(DEFAULT_POLICY);
});

describe("a file with an error: every problem with its place, and no policy", () => {
  test("names, values and sizes", async () => {
    const text = `sandbox: onn
plugin: { block: [x] }
plugins:
  blok: [x]
  on_more: narow
  block: ["Bad Name"]
  grants:
    - plugins: []
      permissions: { raed: [/etc], write: [relative/path, /a/../b], connect: ["example.org"], listen: [8, 70000] }
      resources: { memory: 64 MB, cpu: 0, processes: 0, disk: 1KB }
    - permissions: { read: ["\${settings.path}"] }
host: { operations: ["restart nginx"], simulate: yes please }
`;
    expect(await problemsOf(text)).toEqual([
      'policy.yaml:1:10: sandbox: invalid value; expected one of on, strict, off; found "onn"; did you mean "on"?',
      'policy.yaml:2:1: plugin: unknown key "plugin"; expected one of sandbox, plugins, secrets, host; did you mean "plugins"?',
      'policy.yaml:4:3: plugins.blok: unknown key "blok"; expected one of allow, block, on_more, grants; did you mean "block"?',
      'policy.yaml:5:12: plugins.on_more: invalid value; expected one of refuse, narrow; found "narow"; did you mean "narrow"?',
      `policy.yaml:6:11: plugins.block[0]: invalid value; expected a plugin's name, or a pattern with *; found "Bad Name"`,
      "policy.yaml:8:16: plugins.grants[0].plugins: invalid value; expected at least 1 item; found 0",
      expect.stringContaining('unknown key "raed"; expected one of read, write,'),
      'policy.yaml:9:44: plugins.grants[0].permissions.write[0]: invalid value; expected an absolute path without `.` or `..` (or ${settings.x}); found "relative/path"',
      'policy.yaml:9:59: plugins.grants[0].permissions.write[1]: invalid value; expected an absolute path without `.` or `..` (or ${settings.x}); found "/a/../b"',
      'policy.yaml:9:79: plugins.grants[0].permissions.connect[0]: invalid value; expected host:port, like api.example.org:443, *.example.org:443 or *:443; found "example.org"',
      "policy.yaml:9:107: plugins.grants[0].permissions.listen[1]: invalid value; expected a port from 1 to 65535; found 70000",
      'policy.yaml:10:28: plugins.grants[0].resources.memory: invalid value; expected a size: a number and a unit, like 64MB; found "64 MB"',
      "policy.yaml:10:40: plugins.grants[0].resources.cpu: invalid value; expected at least 0.05; found 0",
      "policy.yaml:10:54: plugins.grants[0].resources.processes: invalid value; expected at least 1; found 0",
      'policy.yaml:10:63: plugins.grants[0].resources.disk: invalid value; expected at least 64KB; found "1KB"',
      'policy.yaml:11:7: plugins.grants[1].plugins: the key "plugins" is missing; expected a list',
      'policy.yaml:11:29: plugins.grants[1].permissions.read[0]: a policy knows no variables; expected the text itself, or a path with ${home}; found "${settings.path}"',
      'policy.yaml:12:22: host.operations[0]: invalid value; expected operation or operation:object, like systemd.restart:nginx.service; found "restart nginx"',
      'policy.yaml:12:50: host.simulate: wrong type; expected true or false; found "yes please"',
    ]);
  });

  test.each<[string, string | Uint8Array, string]>([
    ["a list", "- a\n", "policy.yaml:1:1: the document is not a map"],
    ["a tab", "plugins:\n\tblock: [x]\n", "policy.yaml:2:1: a tab in the indentation"],
    ["a key twice", "sandbox: on\nsandbox: off\n", 'policy.yaml:2:1: sandbox: duplicate key "sandbox"'],
    ["UTF-16", new Uint8Array([0xff, 0xfe, 0x61, 0]), "policy.yaml:1:1: wrong encoding"],
    ["too large", "#".repeat(1024 * 1024 + 1), "policy.yaml: the file is too large"],
  ])("%s", async (_, text, problem) => {
    expect((await problemsOf(text))[0]).toStartWith(problem);
  });

  test("what is there and cannot be read is no reason for the default", async () => {
    const file = join(dir, "policy.yaml");
    mkdirSync(file);
    expect(await loadPolicy([file])).toMatchObject({ policy: null, path: file });
    rmSync(file, { recursive: true });
    symlinkSync(file, file);
    expect(await loadPolicy([file])).toMatchObject({ policy: null, path: file });
    const second = write("sandbox: on\n", "second.yaml");
    expect((await loadPolicy([join(second, "x"), second])).policy).toBeNull();
  });
});

test("whether the agent could change it", async () => {
  const folder = join(dir, "closed");
  mkdirSync(folder);
  writeFileSync(join(folder, "policy.yaml"), "");
  chmodSync(join(folder, "policy.yaml"), 0o444);
  chmodSync(folder, 0o555);
  const isRoot = process.getuid!() === 0;
  expect((await loadPolicy([join(folder, "policy.yaml")])).writable).toBe(isRoot);
  chmodSync(folder, 0o755);
  expect((await loadPolicy([join(folder, "policy.yaml")])).writable).toBe(true);
});

test("places of a home", () => {
  const home = agentHome(dir, "web-01");
  prepareHome(home);
  const places = protectedPlaces(home, process.execPath);
  expect(places.protectedWrite).toEqual(
    expect.arrayContaining([home.config, home.plugins, process.execPath]),
  );
  expect(places.protectedRead).toContain(home.certificates);
  expect(realPlace(home.config)).toEqual({
    path: realPlace(dir)!.path + "/agent-web-01/config",
    kind: "folder",
  });
  expect(realPlace(join(dir, "nothing"))).toBeNull();
});
