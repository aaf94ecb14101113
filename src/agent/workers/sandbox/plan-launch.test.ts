import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bareGrant, type Grant } from "../../../model/grant.ts";
import { DEFAULT_RESOURCES } from "../../../model/permissions.ts";
import { AS_NOBODY, runStage, type Stage, testCommand } from "../../../testing/stage-one-rig.ts";
import { selfCommand } from "../self-command.ts";
import type { KernelFacts } from "./kernel-facts.ts";
import { launchPrefix, planLaunch, type PlanOptions } from "./plan-launch.ts";

const MB = 1024 ** 2;
const FULL: KernelFacts = {
  kernel: "6.12.0",
  arch: "x64",
  root: false,
  landlockAbi: 6,
  seccomp: true,
  mountNamespace: true,
  netNamespace: true,
  cgroup: { kind: "none", reason: "test" },
  reasons: {},
};
const NET = { tcp: [80], udp: [53] };

function plan(change: {
  grant?: Partial<Grant>;
  kernel?: Partial<KernelFacts>;
  worker?: Partial<PlanOptions["worker"]>;
  network?: PlanOptions["network"];
  cgroup?: string;
}) {
  return planLaunch({
    grant: { ...bareGrant(DEFAULT_RESOURCES), ...change.grant },
    kernel: { ...FULL, ...change.kernel },
    worker: {
      kind: "host",
      program: "/opt/holdfast",
      argv: ["/opt/holdfast", "__host"],
      env: { HOME: "/w" },
      cwd: "/w",
      folder: "/w",
      code: ["/plugins/a.ts"],
      ...change.worker,
    },
    ...(change.network ? { network: change.network } : {}),
    ...(change.cgroup ? { cgroup: change.cgroup } : {}),
  });
}
const paths = (policy: ReturnType<typeof planLaunch>, right: string) =>
  policy.landlock!.paths.filter(({ rights }) => (rights as string[]).includes(right)).map(({ path }) => path);

describe("a plan", () => {
  test("of nothing granted: no socket, no process, no program, only its folder", () => {
    const policy = plan({});
    expect(policy.seccomp).toEqual({
      fork: false,
      fileModes: true,
      sockets: "none",
      icmp: false,
      denyTruncate: false,
    });
    expect(policy.landlock).toMatchObject({ connect: [], bind: [] });
    expect(paths(policy, "write")).toEqual(["/dev/null", "/w"]);
    expect(paths(policy, "execute").filter((path) => !path.includes("/ld-"))).toEqual(["/opt/holdfast"]);
    expect(paths(policy, "read")).toContain("/plugins/a.ts");
    expect(paths(policy, "read")).not.toContain("/usr");
    expect(policy.mount).toEqual({ own: "/w", writable: [], hidden: [], replaced: [] });
    expect(policy.rlimits).toEqual({
      CORE: 0,
      FSIZE: 128 * MB,
      NOFILE: 256,
      NPROC: 32 + 64,
      DATA: (128 + 229) * MB,
    });
    expect(policy.env).toMatchObject({ HOME: "/w", HOLDFAST_NO_EXEC: "1", MIMALLOC_ARENA_RESERVE: "65536" });
  });

  test("of what was granted", () => {
    const policy = plan({
      grant: { read: ["/data"], write: ["/out"], exec: ["/usr/bin/git"], hidden: ["/data/key"], icmp: true },
      network: { net: NET, replaced: [{ path: "/etc/hosts", by: "/w/hosts" }] },
    });
    expect(policy.seccomp).toMatchObject({ fork: true, sockets: "all", icmp: true });
    expect(policy.landlock).toMatchObject({ connect: "any", bind: "any" });
    expect(policy.landlock!.paths).toContainEqual({ path: "/data", rights: ["list", "read"] });
    expect(policy.landlock!.paths).toContainEqual({ path: "/out", rights: ["list", "read", "write"] });
    expect(paths(policy, "execute")).toContain("/usr/bin/git");
    expect(paths(policy, "read")).toEqual(expect.arrayContaining(["/usr/lib", "/etc/resolv.conf"]));
    expect(policy.mount).toMatchObject({ writable: ["/out"], hidden: ["/data/key"] });
    expect(policy.net).toEqual(NET);
    expect(policy.env.HOLDFAST_NO_EXEC).toBeUndefined();
  });

  test("@system stands for the host's programs, never for a path", () => {
    const exec = plan({ grant: { exec: ["@system"], read: ["@system"] }, worker: { kind: "script" } });
    expect(paths(exec, "execute")).toEqual(expect.arrayContaining(["/usr", "/bin", "/sbin", "/lib64"]));
    expect(exec.landlock!.paths.some(({ path }) => path.includes("@"))).toBe(false);
    const read = plan({ grant: { read: ["@system"] } });
    expect(paths(read, "read")).toContain("/usr");
    expect(paths(read, "execute")).not.toContain("/usr");
    for (const path of ["/etc", "/etc/shadow", "/opt", "/home", "/root", "/proc"]) {
      expect(paths(exec, "read")).not.toContain(path);
    }
  });

  test("ports need a Landlock that knows them", () => {
    const network = { proxyPort: 4000 };
    expect(plan({ network, kernel: { netNamespace: false } })).toMatchObject({
      seccomp: { sockets: "tcp" },
      landlock: { connect: [4000], bind: [] },
    });
    expect(plan({ network, kernel: { landlockAbi: 3 } }).seccomp!.sockets).toBe("none");
    const listens = plan({ grant: { listen: [8125] }, kernel: { landlockAbi: 2 } });
    expect(listens.seccomp).toMatchObject({ sockets: "tcp", listenOnly: true });
    expect(plan({ grant: { listen: [8125] } }).landlock).toMatchObject({ bind: [8125], connect: [] });
    expect(plan({ grant: { listen: [8125] } }).seccomp!.listenOnly).toBeUndefined();
  });

  test("what a kernel lacks is not asked of it", () => {
    const old = plan({ kernel: { landlockAbi: 2, mountNamespace: false } });
    expect(old.mount).toBeUndefined();
    expect(old.seccomp).toMatchObject({ fileModes: false, denyTruncate: true });
    expect(old.rlimits.NPROC).toBeUndefined();
    const bare = plan({
      kernel: { landlockAbi: 0, seccomp: false, mountNamespace: false, netNamespace: false },
    });
    expect([bare.landlock, bare.seccomp, bare.mount, bare.net]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
    expect(bare.keepPrivileges).toBeUndefined();
  });

  test("of a root agent: a user of its own", () => {
    const worker = { uid: 1_900_000_007, gid: 0 };
    const policy = plan({ kernel: { root: true }, worker });
    expect(policy).toMatchObject({
      uid: 1_900_000_007,
      gid: 0,
      seccomp: { fileModes: true },
      rlimits: { NPROC: 96 },
    });
    expect(policy.mount).toBeDefined();
    expect(plan({ kernel: { root: true, mountNamespace: false }, worker }).seccomp!.fileModes).toBe(false);
    expect(launchPrefix({ root: true }, plan({}))).toEqual([]);
    expect(launchPrefix({ root: false }, plan({}))[0]).toBe("/usr/bin/unshare");
    expect(launchPrefix({ root: false }, {})).toEqual([]);
  });

  test("with a control group for memory there is no limit of data", () => {
    const cgroup = { kind: "v2" as const, folder: "/g", controllers: ["memory" as const], reason: "" };
    const policy = plan({ kernel: { cgroup }, cgroup: "/g/workers/1" });
    expect(policy.cgroup).toBe("/g/workers/1");
    expect(policy.rlimits.DATA).toBeUndefined();
    expect(policy.env.MIMALLOC_ARENA_RESERVE).toBeUndefined();
    expect(
      plan({ kernel: { cgroup: { ...cgroup, controllers: [] } }, cgroup: "/g/1" }).rlimits.DATA,
    ).toBeDefined();
  });

  test("with sandbox: off confines nothing", () => {
    expect(plan({ grant: { sandbox: "off" }, network: { net: NET }, cgroup: "/g" })).toEqual({
      program: "/opt/holdfast",
      argv: ["/opt/holdfast", "__host"],
      cwd: "/w",
      keepFds: 4,
      env: { HOME: "/w" },
      rlimits: {},
      keepPrivileges: true,
    });
  });
});

const ROOT = process.getuid!() === 0;
if (!ROOT) console.warn("SKIPPED: plugin hosts of an agent that is root");
const HOSTS: [string, { prefix: string[]; root: boolean; uid?: number }][] = [
  ...(ROOT
    ? ([
        ["root, own user", { prefix: [], root: true, uid: 1_900_000_003 }],
        ["root, same user", { prefix: [], root: true }],
        ["nobody", { prefix: AS_NOBODY, root: false }],
      ] as [string, { prefix: string[]; root: boolean; uid?: number }][])
    : ([["this user", { prefix: [], root: false }]] as [string, { prefix: string[]; root: boolean }][])),
];

describe.each(HOSTS)("a plugin host, agent is %s", (name, start) => {
  const home = mkdtempSync(join(tmpdir(), "holdfast-plan-"));
  chmodSync(home, 0o755);
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  async function run(
    source: string,
    grant: Partial<Grant>,
    kernel: Partial<KernelFacts> = {},
  ): Promise<Stage> {
    const folder = join(home, `w-${name.length}-${Math.random().toString(36).slice(2)}`);
    mkdirSync(folder);
    if (ROOT) chownSync(folder, start.root ? (start.uid ?? 0) : 65534, 0);
    const file = join(home, `${folder.split("/").at(-1)}.ts`);
    writeFileSync(
      file,
      `import { defineAction, v } from "holdfast";\n${source}\nexport default defineAction({ name: "a", description: "", effect: "idempotent", settings: v.object({}), run: () => null });`,
    );
    const facts = { ...FULL, root: start.root, ...kernel };
    const argv = [...testCommand(), "__host"];
    const code = process.env.HOLDFAST_TEST_EXECUTABLE === undefined ? selfCommand().code : [];
    const policy = planLaunch({
      grant: { ...bareGrant(DEFAULT_RESOURCES), ...grant },
      kernel: facts,
      worker: {
        kind: "host",
        program: argv[0]!,
        argv,
        env: { PATH: "/usr/bin:/bin", HOME: folder, TMPDIR: folder, LANG: "C.UTF-8" },
        cwd: folder,
        folder,
        code: [file, ...code],
        ...(start.uid === undefined ? {} : { uid: start.uid, gid: 0 }),
      },
    });
    return await runStage(policy, {
      prefix: [...start.prefix, ...launchPrefix(facts, policy)],
      then: [{ kind: "load", entry: { file }, describe: false }],
      answer: (frame) => (frame.kind === "ready" ? { kind: "drain" } : undefined),
    });
  }

  const ATTEMPTS = `
    import { readFileSync, writeFileSync, chmodSync, promises } from "node:fs";
    const attempt = async (what, action) => {
      try { await action(); console.log(what, "done"); } catch (error) { console.log(what, error.code ?? error.message); }
    };
    writeFileSync("file", "x"); chmodSync("file", 0o600);
    await attempt("passwd", () => readFileSync("/etc/passwd"));
    await attempt("passwd async", () => promises.readFile("/etc/passwd"));
    await attempt("socket", () => Bun.connect({ hostname: "127.0.0.1", port: 1, socket: { data() {} } }));
    await attempt("write", () => writeFileSync("/tmp/holdfast-plan-test", "x"));
    await attempt("spawn", () => Bun.spawnSync(["/bin/true"]));
  `;

  test("loads a plugin, which gets nothing that it was not granted", async () => {
    const stage = await run(ATTEMPTS, {});
    expect(stage.err).toBe("");
    expect(stage.frames.map(({ kind }) => kind)).toEqual(["ready", "drained"]);
    expect(stage.code).toBe(0);
    const lines = stage.out.split("\n");
    expect(lines.filter((line) => line.endsWith("done"))).toEqual([]);
    expect(lines).toHaveLength(6);
  });

  test("and gets what it was granted", async () => {
    const stage = await run(ATTEMPTS, { read: ["/etc/passwd"], exec: ["@system"] });
    const lines = stage.out.split("\n");
    expect(lines).toEqual(expect.arrayContaining(["passwd done", "passwd async done", "spawn done"]));
    expect(lines.filter((line) => line.endsWith("done"))).toHaveLength(3);
    expect(stage.code).toBe(0);
  });

  test("also on a kernel with less", async () => {
    for (const landlockAbi of [6, 0]) {
      const stage = await run(ATTEMPTS, {}, { landlockAbi, mountNamespace: false, netNamespace: false });
      // Without a mount namespace it may not change the mode of its file.
      expect(stage.frames.map(({ kind }) => kind)).toEqual(["failed"]);
      expect(stage.err).toContain("EPERM: operation not permitted, chmod");
    }
  });
});
