import { afterAll, describe, expect, test } from "bun:test";
import { type GrantCase, grantBench } from "../testing/grant-bench.ts";
import { type Grant, summaryOf } from "./grant.ts";
import { DEFAULT_RESOURCES } from "./permissions.ts";

const bench = grantBench();
afterAll(() => bench.close());
const { granted, reasons } = bench;

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
  test.each<[string, GrantCase, Partial<Grant>]>([
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
      { read: ["DIR/srv"] },
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
  ])("%s", (_, each, expected) => {
    expect(granted(each).grant).toMatchObject(expected);
  });

  test.each<[string, GrantCase, RegExp]>([
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
  test.each<[string, GrantCase, string]>([
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
