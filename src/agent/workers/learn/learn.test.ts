/** Real plugins are watched; then what was proposed must do to run them confined, and nothing must not. */
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import * as v from "valibot";
import { systemClock } from "../../../core/clock.ts";
import { systemIds } from "../../../core/ids.ts";
import { silentLogger } from "../../../core/logger.ts";
import { decideGrant } from "../../../model/grant-decision.ts";
import type { JsonObject } from "../../../model/json.ts";
import { NO_PERMISSIONS, type PermissionsInput, permissionsSchema } from "../../../model/permissions.ts";
import type { CatalogPlugin } from "../../../model/plugin.ts";
import { DEFAULT_POLICY } from "../../../model/policy.ts";
import { noAdditions } from "../../../testing/no-additions.ts";
import { until } from "../../../testing/until.ts";
import { AS_NOBODY, openPolicy, runStage } from "../../../testing/stage-one-rig.ts";
import { type TestBench, testBench, testLauncher, testSelf } from "../../../testing/worker-bench.ts";
import type { Launcher } from "../launch.ts";
import { createWorkers } from "../workers.ts";
import { learnPlugin } from "./learn.ts";

setDefaultTimeout(60_000);
const ROOT = process.getuid!() === 0;

let bench: TestBench;
let server: ReturnType<typeof Bun.serve>;
beforeAll(() => {
  bench = testBench();
  server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response("from the server") });
});
afterAll(async () => {
  await server.stop(true);
  bench.close();
});

/** A folder with a file `in/file` and an empty folder `out`. */
function folder(name: string): string {
  const dir = join(bench.dir, name);
  for (const part of ["in", "out"]) mkdirSync(join(dir, part), { recursive: true });
  writeFileSync(join(dir, "in/file"), "content");
  return dir;
}

/** One call of the action in a worker of this launcher, with these permissions. */
async function call(
  plugin: CatalogPlugin,
  input: JsonObject,
  launcher: Launcher,
  permissions: PermissionsInput,
) {
  const { name } = plugin.manifest;
  const workers = createWorkers({
    clock: systemClock(),
    ids: systemIds(),
    log: silentLogger(),
    workdir: bench.workdir,
    pluginLog: () => ({ write() {} }),
    agent: { id: "test-01", labels: {}, home: bench.dir },
    launcher,
    grantFor: () =>
      decideGrant({
        name,
        permissions: v.parse(permissionsSchema, permissions),
        resources: { memory: "512MB", cpu: 4 },
        settings: {},
        policy: DEFAULT_POLICY,
        places: { home: bench.dir, protectedRead: [], protectedWrite: [], protectedUnix: [] },
        realpath(path) {
          if (!existsSync(path)) return null;
          const real = realpathSync(path);
          return { path: real, kind: statSync(real).isDirectory() ? "folder" : "file" };
        },
      }),
  });
  const pool = workers.actionPool({ idleMs: 60_000 });
  const about = { key: "r/s", run: "r", step: "s", attempt: 1, timeoutMs: 20_000, add: noAdditions };
  try {
    return await pool.call(plugin, { input, ...about }, new AbortController().signal);
  } finally {
    await pool.stop();
  }
}

async function learn(plugin: CatalogPlugin, input: JsonObject) {
  let outcome: Awaited<ReturnType<typeof call>> | undefined;
  const lesson = await learnPlugin({
    workdir: bench.workdir,
    ids: systemIds(),
    self: testSelf(),
    run: async (launcher) => void (outcome = await call(plugin, input, launcher, {})),
  });
  return { ...lesson, outcome };
}

const confined = (plugin: CatalogPlugin, input: JsonObject, permissions: PermissionsInput) =>
  call(plugin, input, testLauncher({ workdir: bench.workdir }), permissions);

test("a TypeScript plugin that reads, writes, connects and executes", async () => {
  const dir = folder("host");
  const plugin = bench.plugin(
    "action",
    "busy",
    `import { readFileSync, renameSync, writeFileSync } from "node:fs";
    export default defineAction({
      name: "busy", description: "", settings: v.strictObject({ dir: v.string(), port: v.number() }),
      async run({ settings: { dir, port } }) {
        const got = await (await fetch("http://127.0.0.1:" + port)).text();
        writeFileSync(dir + "/out/new", readFileSync(dir + "/in/file", "utf8") + ", " + got);
        renameSync(dir + "/out/new", dir + "/out/file");
        return { upper: await Bun.$\`cat \${dir}/out/file | tr a-z A-Z\`.text() };
      },
    });`,
  );
  const input = { dir, port: server.port! };
  const done = { kind: "ok", output: { upper: "CONTENT, FROM THE SERVER" } };
  const { outcome, proposal } = await learn(plugin, input);
  expect(outcome).toEqual(done as never);
  const proposed = { ...proposal, exec: proposal.exec?.map((path) => path.split("/").at(-1)!) };
  expect(proposed).toEqual({
    read: [join(dir, "in/file")],
    write: [join(dir, "out")],
    connect: [`127.0.0.1:${server.port}`],
    exec: ["cat", "tr"],
  });
  expect(await confined(plugin, input, proposal)).toEqual(done as never);
  expect(await confined(plugin, input, {})).toMatchObject({ kind: "error" });
});

function script(name: string, text: string): CatalogPlugin {
  const home = join(bench.dir, "plugins", name);
  const entry = join(home, name);
  mkdirSync(home);
  writeFileSync(entry, text);
  chmodSync(entry, 0o755);
  return {
    manifest: {
      kind: "action",
      name,
      description: "",
      settings: {},
      permissions: NO_PERMISSIONS,
      resources: {},
    },
    entry: { script: { folder: home, entry, mode: "once", plain: false, env: {} } },
  };
}

test("a shell script and what it starts", async () => {
  const dir = folder("script");
  const plugin = script(
    "shell",
    `#!/bin/sh
set -e
cd ${dir}/out
mkdir made
tr a-z A-Z < ../in/file > made/upper
sh -c 'cat made/upper'
rm -r made
`,
  );
  const { outcome, proposal } = await learn(plugin, {});
  const done = { kind: "ok", output: { raw_output: "CONTENT" } };
  expect(outcome).toEqual(done as never);
  expect(proposal).toMatchObject({ read: [join(dir, "in/file")], write: [join(dir, "out")] });
  for (const name of ["tr", "cat", "mkdir", "rm"]) expect(proposal.exec!.join()).toContain(`/${name}`);
  expect(await confined(plugin, {}, proposal)).toEqual(done as never);
  expect(await confined(plugin, {}, {})).toMatchObject({ kind: "error" });
});

test("every kind of touch, from a program of another language", async () => {
  const dir = folder("python");
  const path = join(dir, "in/socket");
  const listener = Bun.listen({ unix: path, socket: { data() {} } });
  const plugin = script(
    "python",
    `#!/usr/bin/env python3
import os, socket, struct, threading
def query(name):
    return struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"".join(bytes([len(p)]) + p for p in name.split(b".")) + b"\\0\\0\\1\\0\\1"
os.chdir("${dir}/in")
folder = os.open("${dir}", os.O_RDONLY | os.O_DIRECTORY)
os.open("file", os.O_RDONLY, dir_fd=folder) if os.path.exists("${dir}/file") else None
open("../in/file", "a").close()
open("/dev/stderr", "w").close(); open("/etc/mtab").close()
os.symlink("/nowhere", "link", dir_fd=folder)
os.unlink("link", dir_fd=folder)
unix = socket.socket(socket.AF_UNIX); unix.connect("socket")
tcp = socket.socket(); tcp.bind(("127.0.0.1", 0)); tcp.close()
for attempt in (lambda: socket.socket().bind(("127.0.0.1", ${server.port})), lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP)):
    try: attempt()
    except OSError: pass
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect(("127.0.0.9", 9)); udp.connect(("127.0.0.1", 53)); udp.send(query(b"one.example"))
def other():
    late = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    late.sendto(b"x", ("127.0.0.2", 514)); late.sendmsg([b"x"], [], 0, ("127.0.0.3", 515))
thread = threading.Thread(target=other); thread.start(); thread.join()
if os.fork() == 0:
    six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try: six.sendto(query(b"Two.Example"), ("::ffff:127.0.0.4", 53))
    finally: os._exit(0)
os.wait()
print('"done"')
`,
  );
  const { outcome, touched, proposal } = await learn(plugin, {});
  listener.stop(true);
  expect(outcome).toEqual({ kind: "ok", output: "done" });
  const shown = touched
    .filter(({ what }) => !["read", "exec"].includes(what))
    .map((touch) => JSON.stringify(touch));
  const expected: object[] = [
    { what: "write", path: join(dir, "in/file"), found: "file" },
    { what: "change", path: join(dir, "link") },
    { what: "unix", path },
    { what: "udp", host: "127.0.0.1", port: 53 },
    { what: "name", name: "one.example" },
    { what: "udp", host: "127.0.0.2", port: 514 },
    { what: "udp", host: "127.0.0.3", port: 515 },
    { what: "udp", host: "127.0.0.4", port: 53 },
    { what: "name", name: "two.example" },
  ];
  for (const touch of expected) expect(shown).toContain(JSON.stringify(touch));
  expect(shown.join()).not.toContain("127.0.0.9");
  expect(proposal.unix).toEqual([path]);
  expect(proposal.write).toEqual([dir]);
  expect([proposal.listen, proposal.icmp]).toEqual([[String(server.port)], true]);
  expect(proposal.read).toBeUndefined();
});

test("hosts by the name that was asked for, and the program that is missing", async () => {
  const plugin = script(
    "names",
    `#!/usr/bin/env python3
import socket, struct
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.sendto(struct.pack(">6H", 7, 0x100, 1, 0, 0, 0) + b"\\3api\\7example\\0\\0\\1\\0\\1", ("127.0.0.1", 53))
try: socket.create_connection(("127.0.0.1", ${server.port})).close()
except OSError: pass
print('"done"')
`,
  );
  const lesson = await learnPlugin({
    workdir: bench.workdir,
    ids: systemIds(),
    self: testSelf(),
    resolve: async (name) => (name === "api.example" ? ["127.0.0.1"] : []),
    run: async (launcher) => void (await call(plugin, {}, launcher, {})),
  });
  expect(lesson.proposal.connect).toEqual([`api.example:${server.port}`]);
});

test("nothing of a watched worker is left, nor of one that cannot be started", async () => {
  const before = readdirSync("/proc/self/fd").length;
  const pids = join(bench.dir, "pids");
  writeFileSync(pids, "");
  // One in its group, and one that leaves it, its session and its parents.
  const plugin = script(
    "brief",
    `#!/bin/sh
before=$(wc -l < ${pids})
sleep 60 & echo $! >> ${pids}
setsid -f sh -c 'echo $$ >> ${pids}; exec sleep 61'
until [ $(wc -l < ${pids}) -ge $((before + 2)) ]; do sleep 0.01; done
echo '"x"'
`,
  );
  for (let round = 0; round < 3; round++) {
    expect((await learn(plugin, {})).outcome).toEqual({ kind: "ok", output: "x" });
  }
  const gone: CatalogPlugin = {
    ...plugin,
    entry: {
      script: { ...(plugin.entry as never as { script: object }).script, entry: "/nowhere" } as never,
    },
  };
  await expect(learn(gone, {})).resolves.toMatchObject({ outcome: { kind: "error" } });
  expect(readdirSync(bench.workdir)).toEqual([]);
  const started = readFileSync(pids, "utf8").trim().split("\n");
  expect(started).toHaveLength(6);
  await until("their end", () => !started.some(isAlive));
  expect(readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(before + 2);
});

/** Zombies that nobody has reaped do not live. */
function isAlive(pid: string): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}

/** A program that watches a script and says what it would propose. */
function learner(dir: string, more = ":"): string {
  const module = (path: string) => JSON.stringify(import.meta.resolve(path));
  const file = join(dir, "learner.ts");
  writeFileSync(
    file,
    `import { learnPlugin } from ${module("./learn.ts")};
import { systemIds } from ${module("../../../core/ids.ts")};
import { bareGrant } from ${module("../../../model/grant.ts")};
import { DEFAULT_RESOURCES } from ${module("../../../model/permissions.ts")};
try {
  const { proposal, touched } = await learnPlugin({
    workdir: ${JSON.stringify(join(dir, "workdir"))}, ids: systemIds(), self: ${JSON.stringify(testSelf())},
    async run(launcher) {
      const launched = await launcher.launch({
        kind: "script", command: ["/bin/sh", "-c", "cat ${dir}/in/file > ${dir}/out/new; ${more}"],
        grant: bareGrant(DEFAULT_RESOURCES), label: "l", code: [], env: {}, stdin: "ignore",
      });
      await launched.exited;
    },
  });
  console.log(JSON.stringify({ proposal, unseen: touched.filter(({ what }) => what === "unseen") }));
} catch (error) {
  console.log(error.message);
}
process.exit(0);
`,
  );
  return file;
}

test.skipIf(!ROOT)("as an ordinary user, who is told of what cannot be looked into", async () => {
  const dir = folder("nobody");
  for (const path of [bench.dir, join(dir, "in"), join(dir, "in/file")]) chmodSync(path, 0o755);
  for (const path of [dir, join(dir, "out")]) chmodSync(path, 0o777);
  const secret = join(dir, "secret");
  copyFileSync("/bin/cat", secret);
  chmodSync(secret, 0o711);
  const child = Bun.spawn([...AS_NOBODY, process.execPath, learner(dir, `${secret} /etc/hostname`)], {
    env: { HOME: dir, PATH: "/usr/bin:/bin" },
    stderr: "inherit",
  });
  const { proposal, unseen } = JSON.parse(await new Response(child.stdout).text());
  expect(proposal).toMatchObject({ read: [join(dir, "in/file")], write: [join(dir, "out")] });
  expect(proposal.exec).toContain(secret);
  expect(unseen).toEqual([{ what: "unseen", call: "openat" }]);
  expect(readFileSync(join(dir, "out/new"), "utf8")).toBe("content");
});

test("where the listener cannot be taken over, it says so", async () => {
  const dir = folder("refused");
  const policy = openPolicy([process.execPath, learner(dir)], {
    env: { HOME: dir, PATH: "/usr/bin:/bin" },
    seccomp: { fork: true, fileModes: true, sockets: "all", icmp: false, denyTruncate: false },
  });
  const { out } = await runStage(policy);
  expect(out).toContain("cannot watch /bin/sh: sandbox: pidfd_open: EPERM");
  expect(existsSync(join(dir, "out/new"))).toBe(false);
  expect(readdirSync(join(dir, "workdir"))).toEqual([]);
});
