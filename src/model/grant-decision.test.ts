import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { decideGrant, type GrantRequest } from "./grant-decision.ts";
import { type Grant, summaryOf } from "./grant.ts";
import {
  DEFAULT_RESOURCES,
  type PermissionsInput,
  permissionsSchema,
  type ResourcesInput,
} from "./permissions.ts";
import { policySchema } from "./policy.ts";

let dir: string;
let home: string;
beforeAll(() => {
  dir = realpathSync(mkdtempSync(join(tmpdir(), "holdfast-grant-")));
  home = join(dir, "home");
  for (const folder of [
    "home/config/certificates",
    "home/data/state",
    "home/data/plugins",
    "home/logs/audit",
  ])
    mkdirSync(join(dir, folder), { recursive: true });
  for (const folder of ["home/scripts", "home/bin", "srv/allowed/sub", "srv/other"])
    mkdirSync(join(dir, folder), { recursive: true });
  for (const file of [
    "home/app.log",
    "home/bin/tool",
    "home/scripts/run.sh",
    "home/control.sock",
    "srv/other/file",
  ])
    writeFileSync(join(dir, file), "");
  symlinkSync(join(dir, "srv/other"), join(dir, "srv/allowed/link"));
  symlinkSync(join(home, "config/certificates"), join(dir, "srv/allowed/keys"));
  symlinkSync(join(dir, "srv/none"), join(dir, "srv/allowed/dangling"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const realpath: GrantRequest["realpath"] = (path) => {
  try {
    const real = realpathSync(path);
    return { path: real, kind: statSync(real).isDirectory() ? "folder" : "file" };
  } catch {
    return null;
  }
};

interface Case {
  permissions?: PermissionsInput;
  resources?: ResourcesInput;
  settings?: GrantRequest["settings"];
  policy?: v.InferInput<typeof policySchema>;
  canHide?: boolean;
  settingsSchema?: GrantRequest["settingsSchema"];
}

/** `DIR` and `HOME` in texts stand for the folders of this test. */
function decide({ permissions = {}, resources = {}, settings = {}, policy = {}, ...more }: Case) {
  const here = <T>(value: T): T =>
    JSON.parse(JSON.stringify(value).replaceAll("DIR", dir).replaceAll("HOME", home)) as T;
  return decideGrant({
    name: "sample",
    permissions: v.parse(permissionsSchema, here(permissions)),
    resources,
    settings: here(settings),
    policy: v.parse(policySchema, here(policy)),
    places: {
      home,
      protectedWrite: ["config", "data/state", "data/plugins", "logs/audit"].map((path) => join(home, path)),
      protectedRead: ["config/certificates", "data/state"].map((path) => join(home, path)),
      protectedUnix: [join(home, "control.sock")],
    },
    realpath,
    ...more,
  });
}

const shorten = <T>(value: T): T =>
  JSON.parse(JSON.stringify(value).replaceAll(home, "HOME").replaceAll(dir, "DIR")) as T;

function granted(each: Case) {
  const decision = decide(each);
  if (decision.kind === "refused") throw new Error(decision.reasons.join("\n"));
  return shorten(decision);
}

function reasons(each: Case): string[] {
  const decision = decide(each);
  if (decision.kind === "granted") throw new Error(`granted ${JSON.stringify(decision.grant)}`);
  return shorten(decision.reasons);
}

const only = (permissions: PermissionsInput, more: object = {}) => ({
  plugins: { grants: [{ plugins: ["sam*"], permissions, ...more }] },
});
const narrow = (permissions: PermissionsInput) => only(permissions, { on_more: "narrow" });

test("nothing asked for is nothing granted, with the default resources", () => {
  const { grant, strict, create, needsHiding } = granted({});
  expect({ strict, create, needsHiding }).toEqual({ strict: false, create: [], needsHiding: false });
  expect(grant.resources).toEqual(DEFAULT_RESOURCES);
  expect(summaryOf(grant)).toMatchObject({
    sandbox: "on",
    permissions: {},
    resources: { memory: "128MB", cpu: "0.5 cores" },
  });
});

describe("settings are filled in", () => {
  test.each<[string, Case, Partial<Grant>]>([
    [
      "a list is several",
      { permissions: { read: ["${settings.x}"] }, settings: { x: ["DIR/srv", "scripts"] } },
      { read: ["DIR/srv", "HOME/scripts"] },
    ],
    [
      "not set is none",
      { permissions: { read: ["${settings.x}", "${settings.y.z}"] }, settings: { y: 1 } },
      { read: [] },
    ],
    [
      "known later is none",
      { permissions: { read: ["${settings.x}"] }, settings: { x: "${{ event.data.path }}" } },
      { read: [] },
    ],
    [
      "a default of the schema",
      {
        permissions: { read: ["${settings.x}"] },
        settingsSchema: { properties: { x: { default: "DIR/srv" } } },
      },
      {},
    ],
    ["home", { permissions: { read: ["${home}/scripts"] } }, { read: ["HOME/scripts"] }],
    [
      "the folder of a file",
      { permissions: { read: ["${folder(settings.x)}"] }, settings: { x: "DIR/srv/other/file" } },
      { read: ["DIR/srv/other"] },
    ],
    [
      "http",
      {
        permissions: { connect: ["${endpoint(settings.x)}"] },
        settings: { x: "http://u:p@Api.Example.org/x" },
      },
      { connect: [{ host: "api.example.org", port: 80 }] },
    ],
    [
      "https, its own port, IPv6",
      {
        permissions: { connect: ["${endpoint(settings.x)}"] },
        settings: { x: ["https://a.org", "https://[::1]:8443/"] },
      },
      {
        connect: [
          { host: "a.org", port: 443 },
          { host: "::1", port: 8443 },
        ],
      },
    ],
    [
      "a program of the home",
      { permissions: { exec: ["${program(settings.x)}"] }, settings: { x: ["scripts/run.sh", "/etc"] } },
      { exec: ["HOME/scripts/run.sh"] },
    ],
    [
      "a program in PATH is of the system",
      { permissions: { exec: ["@system", "${program(settings.x)}"] }, settings: { x: "true" } },
      { exec: ["@system"] },
    ],
    [
      "the folder of a program",
      { permissions: { read: ["${folder(program(settings.x))}"] }, settings: { x: ["bin/tool"] } },
      { read: ["HOME/bin"] },
    ],
    [
      "names",
      {
        permissions: { secrets: ["db-${settings.x}"], listen: ["${settings.p}"] },
        settings: { x: "main", p: 8080 },
      },
      { secrets: ["db-main"], listen: [8080] },
    ],
    [
      "everything at once",
      { permissions: { connect: ["*"], udp: ["*.example.org:53"], icmp: true, env: ["TZ"], host: [] } },
      {
        connect: [{ host: "*", port: null }],
        udp: [{ host: "*.example.org", port: 53 }],
        icmp: true,
        env: ["TZ"],
      },
    ],
  ])("%s", (name, each, expected) => {
    const schema = JSON.parse(JSON.stringify(each.settingsSchema ?? null)?.replaceAll("DIR", dir) ?? "null");
    const { grant } = granted({ ...each, ...(schema && { settingsSchema: schema }) });
    expect(grant).toMatchObject(name === "a default of the schema" ? { read: ["DIR/srv"] } : expected);
  });

  test.each<[string, Case, RegExp]>([
    [
      "..",
      { permissions: { read: ["DIR/srv/${settings.x}"] }, settings: { x: "../home/config" } },
      /leads out of its folder with \.\./,
    ],
    [
      "no address",
      { permissions: { connect: ["${endpoint(settings.x)}"] }, settings: { x: "ftp://a" } },
      /connect ftp:\/\/a \(.*\): it is no http:\/\/ or https:\/\/ address/,
    ],
    [
      "no host:port",
      { permissions: { connect: ["${settings.x}"] }, settings: { x: "a b" } },
      /connect a b \(\$\{settings.x\}\): it is not host:port/,
    ],
    [
      "no port",
      { permissions: { listen: ["${settings.x}"] }, settings: { x: 70_000 } },
      /listen 70000.* not a port/,
    ],
    ["a zero byte", { permissions: { read: ["${settings.x}"] }, settings: { x: "/a\0b" } }, /zero byte/],
    [
      "too many",
      {
        permissions: { read: ["${settings.x}/${settings.x}"] },
        settings: { x: Array.from({ length: 30 }, String) },
      },
      /more than 500 values/,
    ],
  ])("%s is refused", (_, each, reason) => {
    expect(reasons(each)).toEqual([expect.stringMatching(reason)]);
  });
});

describe("places", () => {
  test.each<[string, Case, string]>([
    [
      "nothing there",
      { permissions: { read: ["DIR/nope"] } },
      "plugin sample: read DIR/nope: there is nothing at DIR/nope; make it, or let the manifest end it with ? if it may be absent",
    ],
    [
      "no parent to write in",
      { permissions: { write: ["DIR/nope/x"] } },
      "write DIR/nope/x: there is nothing at",
    ],
    [
      "configuration",
      { permissions: { write: ["HOME/config/agent.yaml"] } },
      "it lies in HOME/config, which no plugin may write; use another place",
    ],
    [
      "a new file in state",
      { permissions: { write: ["HOME/data/state/x"] } },
      "it lies in HOME/data/state, which no plugin may write",
    ],
    [
      "keys",
      { permissions: { read: ["HOME/config/certificates"] } },
      "it lies in HOME/config/certificates, which no plugin may read",
    ],
    ["keys to execute", { permissions: { exec: ["HOME/config/certificates"] } }, "which no plugin may read"],
    [
      "keys through a link",
      { permissions: { read: ["DIR/srv/allowed/keys"] } },
      "read DIR/srv/allowed/keys, which leads to HOME/config/certificates,: it lies in",
    ],
    [
      "the agent's own socket",
      { permissions: { unix: ["HOME/control.sock"] } },
      "it lies in HOME/control.sock",
    ],
    ["a folder as a socket", { permissions: { unix: ["DIR/srv"] } }, "it is a folder; name the socket in it"],
    [
      "the home, where nothing can be covered",
      { permissions: { read: ["HOME"] }, canHide: false },
      "it holds HOME/config/certificates, HOME/data/state, which no plugin may read, and this host cannot cover that",
    ],
  ])("%s is refused", (_, each, reason) => {
    expect(reasons(each)).toEqual([expect.stringContaining(reason)]);
  });

  test("what may be absent is left out, what is to be written is made", () => {
    const { grant, create } = granted({
      permissions: {
        read: ["DIR/nope?", "DIR/srv?"],
        write: [
          "DIR/srv/new",
          "${folder(settings.deep)}",
          "DIR/nope/x?",
          "DIR/srv/new",
          "${settings.deep}.1",
        ],
      },
      settings: { deep: "out/a/b.jsonl" },
    });
    expect(grant.read).toEqual(["DIR/srv"]);
    expect(grant.write).toEqual(["DIR/srv/new", "HOME/out/a"]);
    expect(create).toEqual([
      { path: "DIR/srv/new", kind: "file" },
      { path: "HOME/out/a", kind: "folder" },
    ]);
  });

  test("the home as a whole: what it holds is covered; for writing from the top, so that no folder can be swapped", () => {
    const reading = granted({ permissions: { read: ["${home}"] } });
    expect(reading).toMatchObject({ needsHiding: true, grant: { read: ["HOME"] } });
    expect(reading.grant.hidden).toEqual(["HOME/config/certificates", "HOME/data/state"]);
    const writing = granted({ permissions: { write: ["${home}"] } });
    expect(writing.grant.hidden).toEqual(["HOME/config", "HOME/data", "HOME/logs"]);
    const off = granted({ permissions: { read: ["${home}"] }, policy: { sandbox: "off" }, canHide: false });
    expect(off).toMatchObject({ needsHiding: false, grant: { sandbox: "off", hidden: [] } });
  });

  test("the folder of a file in the home is the file alone, for writing, and for reading where nothing can be covered", () => {
    const settings = { path: "app.log" };
    const write = granted({ permissions: { write: ["${folder(settings.path)}?"] }, settings });
    expect(write).toMatchObject({ needsHiding: false, create: [], grant: { write: ["HOME/app.log"] } });
    const fresh = granted({
      permissions: { write: ["${folder(settings.path)}?"] },
      settings: { path: "new" },
    });
    expect(fresh.create).toEqual([{ path: "HOME/new", kind: "file" }]);
    const permissions = { read: ["${folder(settings.path)}?"] };
    expect(granted({ permissions, settings })).toMatchObject({
      needsHiding: true,
      grant: { read: ["HOME"] },
    });
    expect(granted({ permissions, settings, canHide: false }).grant.read).toEqual(["HOME/app.log"]);
    expect(granted({ permissions, settings: { path: "new" }, canHide: false }).create).toEqual([]);
  });
});

describe("the policy", () => {
  test("block over allow over rules", () => {
    const plugins = { block: ["sam*"], allow: ["sample"], grants: [{ plugins: ["sample"] }] };
    expect(reasons({ policy: { plugins } })).toEqual([
      "plugin sample: the policy blocks it (plugins.block: sam*); take it from that list if it may run",
    ]);
    expect(reasons({ policy: { plugins: { allow: ["other", "x-*"] } } })[0]).toContain(
      "allows only other, x-*",
    );
    expect(granted({ policy: { plugins: { allow: ["*ple"] } } }).grant.sandbox).toBe("on");
  });

  test("the first rule with the name counts; without one a plugin gets what it asks for", () => {
    const permissions = { read: ["DIR/srv"] };
    const grants = [
      { plugins: ["x"], permissions: { read: [] } },
      { plugins: ["sample"], permissions: { read: ["DIR"] }, sandbox: "off" as const },
      { plugins: ["*"], permissions: { read: [] } },
    ];
    expect(granted({ permissions, policy: { plugins: { grants } } }).grant).toMatchObject({
      sandbox: "off",
      read: ["DIR/srv"],
    });
    expect(granted({ permissions, policy: { plugins: { grants: grants.slice(0, 1) } } }).grant.read).toEqual([
      "DIR/srv",
    ]);
    expect(granted({ policy: { sandbox: "strict" } }).strict).toBe(true);
  });

  test.each<[string, PermissionsInput, PermissionsInput, string]>([
    [
      "a path beside",
      { read: ["DIR/srv/other"] },
      { read: ["DIR/srv/allowed"] },
      "read DIR/srv/other: the policy allows DIR/srv/allowed; ask for less",
    ],
    [
      "a path whose name only begins alike",
      { read: ["DIR/srv/other"] },
      { read: ["DIR/srv/oth"] },
      "the policy allows DIR/srv/oth",
    ],
    [
      "a link out of an allowed folder",
      { read: ["DIR/srv/allowed/link/file"] },
      { read: ["DIR/srv/allowed"] },
      "read DIR/srv/allowed/link/file, which leads to DIR/srv/other/file,: the policy allows DIR/srv/allowed",
    ],
    ["an empty list", { env: ["TZ"] }, { env: [] }, "env TZ: the policy allows nothing"],
    [
      "a wider folder",
      { write: ["DIR/srv"] },
      { write: ["DIR/srv/allowed"] },
      "write DIR/srv: the policy allows DIR/srv/allowed",
    ],
    [
      "another port",
      { connect: ["a.org:80"] },
      { connect: ["a.org:443"] },
      "connect a.org:80: the policy allows a.org:443",
    ],
    [
      "the name above a wildcard",
      { connect: ["example.org:443"] },
      { connect: ["*.example.org:443"] },
      "connect example.org:443",
    ],
    ["icmp", { icmp: true }, { icmp: false }, "icmp true: the policy allows none"],
    ["a port to listen on", { listen: [80] }, { listen: [8080] }, "listen 80: the policy allows 8080"],
    [
      "a program",
      { exec: ["DIR/srv/other/file"] },
      { exec: ["@system"] },
      "exec DIR/srv/other/file: the policy allows @system",
    ],
    [
      "a wider pattern of names",
      { secrets: ["*"] },
      { secrets: ["db-*"] },
      "secrets *: the policy allows db-*",
    ],
  ])("%s is more than allowed", (_, permissions, allowed, reason) => {
    expect(reasons({ permissions, policy: only(allowed) })).toEqual([expect.stringContaining(reason)]);
  });

  test.each<[string, PermissionsInput, PermissionsInput]>([
    ["a path inside", { read: ["DIR/srv/allowed/sub"] }, { read: ["DIR/srv"] }],
    ["a policy's own link", { read: ["DIR/srv/other"] }, { read: ["DIR/srv/allowed/link"] }],
    ["home in the policy", { read: ["HOME/scripts"] }, { read: ["${home}/scripts"] }],
    ["a program of the system", { exec: ["/usr/bin/env"] }, { exec: ["@system"] }],
    ["a name below a wildcard", { connect: ["a.b.example.org:443"] }, { connect: ["*.example.org:*"] }],
    ["a narrower wildcard", { connect: ["*.b.example.org:443"] }, { connect: ["*.example.org:443"] }],
    ["names by pattern", { secrets: ["db-a-*"], memory: ["x"] }, { secrets: ["db-*"] }],
  ])("%s is allowed", (_, permissions, allowed) => {
    expect(granted({ permissions, policy: only(allowed) }).grant.narrowed).toEqual([]);
  });

  test("narrow keeps what both allow and lists the rest", () => {
    const { grant } = granted({
      permissions: {
        read: ["DIR/srv", "HOME/scripts", "/usr/bin"],
        connect: ["*:443", "b.org:80"],
        secrets: ["*"],
        icmp: true,
        write: ["DIR/srv/new"],
      },
      resources: { memory: "1GB", cpuTime: "1h", processes: 8 },
      policy: {
        plugins: {
          on_more: "narrow",
          grants: [
            {
              plugins: ["sample"],
              permissions: {
                read: ["DIR/srv/allowed", "DIR/srv/none", "@system"],
                connect: ["a.org:443", "*.b.org:*"],
                secrets: ["db-*", "web"],
                icmp: false,
                write: [],
              },
              resources: { memory: "256MB", cpu: 0.25, cpuTime: "10m" },
            },
          ],
        },
      },
    });
    expect(grant).toMatchObject({
      read: ["DIR/srv/allowed", "/usr/bin"],
      connect: [
        { host: "a.org", port: 443 },
        { host: "*.b.org", port: 443 },
      ],
      secrets: ["db-*", "web"],
      icmp: false,
      write: [],
    });
    expect(grant.resources).toMatchObject({
      memory: 256 * 1024 ** 2,
      cpu: 0.25,
      cpuTime: 600_000,
      processes: 8,
    });
    expect(grant.narrowed).toEqual([
      "read DIR/srv: the policy allows DIR/srv/allowed, DIR/srv/none, @system; granted DIR/srv/allowed, DIR/srv/none",
      "read HOME/scripts: the policy allows DIR/srv/allowed, DIR/srv/none, @system; granted nothing",
      "write DIR/srv/new: the policy allows nothing; granted nothing",
      "connect *:443: the policy allows a.org:443, *.b.org:*; granted a.org:443, *.b.org:443",
      "connect b.org:80: the policy allows a.org:443, *.b.org:*; granted nothing",
      "icmp true: the policy allows none; granted nothing",
      "secrets *: the policy allows db-*, web; granted db-*, web",
      "resources.memory 1GB: the policy allows 256MB; granted 256MB",
      "resources.cpuTime 1h: the policy allows 10m; granted 10m",
    ]);
  });

  test("narrowed to a part, a folder that is out of reach is no reason to refuse", () => {
    const permissions = { write: ["${home}"] };
    const { grant } = granted({ permissions, policy: narrow({ write: ["HOME/scripts"] }), canHide: false });
    expect(grant).toMatchObject({ write: ["HOME/scripts"], hidden: [] });
  });

  test("host operations need a word of the policy", () => {
    const permissions = { host: ["systemd.restart:nginx.service", "journal.read:nginx.service", "reboot"] };
    expect(reasons({ permissions })).toHaveLength(3);
    expect(reasons({ permissions })[0]).toContain(
      "host systemd.restart:nginx.service: the policy allows nothing",
    );
    const operations = ["systemd.restart:*.service", "journal.read", "reboot"];
    expect(granted({ permissions, policy: { host: { operations } } }).grant.host).toEqual(permissions.host);
    const both = {
      ...narrow({ host: ["systemd.start:*", "systemd.restart:nginx.service"] }),
      host: { operations },
    };
    expect(granted({ permissions, policy: both }).grant.host).toEqual(["systemd.restart:nginx.service"]);
    const wide = {
      permissions: { host: ["systemd.restart:*"] },
      policy: { plugins: { on_more: "narrow" as const }, host: { operations } },
    };
    expect(granted(wide).grant.host).toEqual(["systemd.restart:*.service"]);
  });

  test("a wish over the limit is refused, a default over the limit is cut", () => {
    const policy = only({}, { resources: { memory: "64MB", wallTime: "1m" } });
    expect(granted({ policy }).grant).toMatchObject({
      narrowed: [],
      resources: { memory: 64 * 1024 ** 2, wallTime: 60_000 },
    });
    expect(reasons({ policy, resources: { memory: "65MB", wallTime: "60s" } })).toEqual([
      expect.stringContaining("plugin sample: resources.memory 65MB: the policy allows 64MB; ask for less, "),
    ]);
  });

  test("everything that is wrong is said at once", () => {
    const policy = only({ read: ["DIR/srv/allowed"], env: [] }, { resources: { memory: "1MB" } });
    const all = reasons({
      permissions: {
        read: ["DIR/nope", "DIR/srv/other"],
        write: ["HOME/config/x"],
        env: ["A", "B"],
        connect: ["${endpoint(settings.u)}"],
      },
      settings: { u: "x" },
      resources: { memory: "2MB" },
      policy,
    });
    expect(all).toHaveLength(7);
    for (const reason of all) expect(reason).toMatch(/^plugin sample: \S+ .+: .+; .+/);
  });
});
