import { describe, expect, test } from "bun:test";
import * as v from "valibot";
import { permissionsSchema, type PermissionsInput } from "../../../model/permissions.ts";
import { foldPaths } from "./fold-paths.ts";
import type { Ground } from "./ground.ts";
import type { WorkerPlace } from "./learn-launcher.ts";
import { propose } from "./propose.ts";
import type { Touch } from "./touch.ts";

const ground: Ground = {
  host: ["/usr/lib/libc.so.6", "/sys/fs/cgroup", "/dev/null"],
  programs: ["/usr/lib", "/etc/passwd", "/dev/null"],
  network: ["/etc/hosts"],
  systemRead: ["/usr", "/usr/lib", "/etc/passwd", "/etc/ssl"],
  systemExec: ["/usr"],
  nameServers: ["192.0.2.53"],
};
const host: WorkerPlace = {
  kind: "host",
  program: "/opt/holdfast",
  folder: "/home/h/tmp/workdir/p-1",
  code: ["/home/h/data/plugins/p"],
};
const script: WorkerPlace = { ...host, kind: "script", program: "/usr/bin/dash" };

const read = (...paths: string[]): Touch[] =>
  paths.map((path) => ({ what: "read", path, found: path.endsWith("/") ? "none" : "file" }));
const write = (path: string): Touch => ({ what: "write", path, found: "file" });
const change = (path: string): Touch => ({ what: "change", path });
const exec = (path: string, real = path): Touch => ({ what: "exec", path, real, found: "file" });
const connect = (name: string, port: number): Touch => ({ what: "connect", host: name, port });

const TABLE: [name: string, touched: Touch[], proposal: PermissionsInput, places?: WorkerPlace[]][] = [
  ["nothing for nothing", [], {}],
  ["a file", read("/srv/a"), { read: ["/srv/a"] }],
  ["not what is absent", [{ what: "read", path: "/srv/none", found: "none" }], {}],
  [
    "not its own folder and code",
    read(`${host.folder}/x`, "/home/h/data/plugins/p/lib.ts", host.program),
    {},
  ],
  [
    "not the folders above its code, but files in them",
    [{ what: "read", path: "/home/h/data", found: "folder" }, ...read("/home/h/data/x")],
    { read: ["/home/h/data/x"] },
  ],
  [
    "not what every host gets",
    read("/usr/lib/libc.so.6", "/sys/fs/cgroup/memory.max", "/proc/self/maps"),
    {},
  ],
  [
    "the system by its name",
    read("/usr/share/dict/words", "/etc/passwd", "/srv/a"),
    { read: ["@system", "/srv/a"] },
  ],
  ["scripts have libraries and data", read("/usr/lib/python3/os.py", "/etc/passwd"), {}, [script]],
  [
    "and so have hosts that start programs",
    [...read("/usr/lib/x.so", "/etc/passwd"), exec("/usr/bin/awk", "/usr/bin/mawk")],
    { exec: ["/usr/bin/awk"] },
  ],
  ["other processes by no number", read("/proc/71/stat", "/proc/72/stat"), { read: ["/proc"] }],
  ["many files are their folder", read("/srv/d/1", "/srv/d/2", "/srv/d/3", "/srv/d/4"), { read: ["/srv/d"] }],
  [
    "but not a folder of the root",
    read("/etc/1", "/etc/2", "/etc/3", "/etc/4"),
    { read: ["/etc/1", "/etc/2", "/etc/3", "/etc/4"] },
  ],
  ["what is written need not be read as well", [...read("/srv/a"), write("/srv/a")], { write: ["/srv/a"] }],
  ["the folder of what is made", [change("/srv/out/new"), write("/srv/out/old")], { write: ["/srv/out"] }],
  ["not /dev/null and files of processes", [write("/dev/null"), write("/proc/self/comm")], {}],
  [
    "not its own streams and process",
    [write("/dev/stderr"), ...read("/dev/stdin", "/dev/tty", "/proc/self/mounts", "/proc/net/tcp")],
    {},
  ],
  ["not its own program", [exec("/opt/holdfast")], {}],
  [
    "not programs that were not found",
    [{ what: "exec", path: "/sbin/x", real: "/sbin/x", found: "none" }],
    {},
  ],
  ["few programs by name", [exec("/usr/bin/b"), exec("/usr/bin/a")], { exec: ["/usr/bin/a", "/usr/bin/b"] }],
  ["many as the system", Array.from({ length: 9 }, (_, at) => exec(`/usr/bin/${at}`)), { exec: ["@system"] }],
  [
    "programs of its own folder",
    [exec("/home/h/data/plugins/p/run")],
    { exec: ["/home/h/data/plugins/p/run"] },
  ],
  [
    "hosts by name where it is known",
    [
      connect("198.51.100.7", 443),
      connect("198.51.100.8", 443),
      connect("2001:db8::1", 80),
      ...read("/etc/hosts"),
    ],
    { connect: ["198.51.100.8:443", "[2001:db8::1]:80", "api.example.org:443"] },
  ],
  [
    "name servers are not asked by the worker",
    [
      { what: "udp", host: "192.0.2.53", port: 53 },
      { what: "udp", host: "192.0.2.9", port: 514 },
    ],
    { udp: ["192.0.2.9:514"] },
  ],
  [
    "ports, sockets, icmp",
    [{ what: "listen", port: 8080 }, { what: "unix", path: "/run/db.sock" }, { what: "icmp" }],
    { listen: ["8080"], unix: ["/run/db.sock"], icmp: true },
  ],
  ["not what a manifest would read otherwise", [...read("/srv/${x}", "/srv/what?"), write("/srv/b?")], {}],
];

test.each(TABLE)("%s", (_name, touched, expected, places = [host]) => {
  const names = new Map([["198.51.100.7", "api.example.org"]]);
  const proposal = propose({ touched, places, ground, names });
  expect(proposal).toEqual(expected);
  expect(v.safeParse(permissionsSchema, proposal).success).toBe(true);
});

describe("folding", () => {
  test("to fit a manifest", () => {
    const paths = Array.from({ length: 600 }, (_, at) => `/a/${at >> 1}/${at}`);
    expect(foldPaths(paths)).toEqual(Array.from({ length: 300 }, (_, at) => `/a/${at}`).toSorted());
  });

  const TABLES: [paths: string[], folded: string[]][] = [
    [["/a/b/1", "/a/b"], ["/a/b"]],
    [
      ["/a/b", "/a/bc"],
      ["/a/b", "/a/bc"],
    ],
    [["/", "/a"], ["/"]],
    // Folders of folders.
    [[1, 2, 3, 4].flatMap((folder) => [1, 2, 3, 4].map((file) => `/a/b/${folder}/${file}`)), ["/a/b"]],
  ];
  test.each(TABLES)("%j", (paths, folded) => expect(foldPaths(paths)).toEqual(folded));
});
