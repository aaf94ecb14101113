import { afterAll, describe, expect, test } from "bun:test";
import { grantBench } from "../testing/grant-bench.ts";
import type { PermissionsInput } from "./permissions.ts";

const bench = grantBench();
afterAll(() => bench.close());
const { granted, reasons } = bench;

const only = (permissions: PermissionsInput, more: object = {}) => ({
  plugins: { grants: [{ plugins: ["sam*"], permissions, ...more }] },
});
const narrow = (permissions: PermissionsInput) => only(permissions, { on_more: "narrow" });

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
      "a name too short for both ends of a pattern",
      { secrets: ["abc"] },
      { secrets: ["ab*bc"] },
      "secrets abc: the policy allows ab*bc",
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

  test("secrets in an environment need a word of the policy", () => {
    const permissions = { secrets: ["*"], secretEnv: ["API_TOKEN"] };
    expect(reasons({ permissions })).toEqual([
      expect.stringContaining("secretEnv API_TOKEN: the policy allows nothing"),
    ]);
    const secrets = { environment: ["API_*"] };
    expect(granted({ permissions, policy: { secrets } }).grant.secretEnv).toEqual(["API_TOKEN"]);
    expect(reasons({ permissions, policy: { ...only({ secretEnv: [] }), secrets } })).toHaveLength(1);
    const wide = { secrets: ["*"], secretEnv: ["*"] };
    const policy = { plugins: { on_more: "narrow" as const }, secrets };
    expect(granted({ permissions: wide, policy }).grant.secretEnv).toEqual(["API_*"]);
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
