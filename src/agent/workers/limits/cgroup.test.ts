import { afterEach, beforeEach, describe, expect, test, setDefaultTimeout } from "bun:test";
import {
  accessSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../core/clock.ts";
import { until } from "../../../testing/until.ts";
import { createCgroup, openCgroup } from "./cgroup.ts";
import { detectCgroup, ownPath } from "./cgroup-facts.ts";
import { CgroupLeaf, limitFiles } from "./cgroup-leaf.ts";
import { Hostiles, MB, resources } from "./hostile-fixtures.ts";
import { killAll } from "./kill-all.ts";
import { LimitWatcher } from "./limit-watch.ts";
import { verdictOf } from "./verdict.ts";

// Real processes on a machine that does other things too.
setDefaultTimeout(60_000);

const clock = systemClock();
const mount = cgroup2Mount();
/** Groups without controllers can be made and killed wherever root sees cgroup v2. */
const canMake = mount !== undefined && process.getuid?.() === 0 && writable(mount);

test.each([
  ["0::/system.slice/holdfast.service\n", "/system.slice/holdfast.service"],
  ["9:memory:/x\n0::/a\\x2db.service\n1:cpu:/\n", "/a\\x2db.service"],
  ["0::/\n", "/"],
  ["9:memory:/x\n", null],
  ["0::/gone.service (deleted)\n", null],
])("own group in %j", (text, path) => expect(ownPath(text)).toBe(path));

test("a folder that is not cgroup v2 is none", () => {
  const facts = detectCgroup({ root: true, mount: tmpdir() });
  expect(facts).toEqual({ kind: "none", reason: `${tmpdir()} is not cgroup v2` });
  expect(detectCgroup({ root: true, mount: "/nowhere" })).toMatchObject({ kind: "none" });
});

test("limits as they are written", () => {
  const all = ["memory", "pids", "cpu"] as const;
  expect(limitFiles(resources({ memory: MB, processes: 3, cpu: 0.5 }), false, all)).toEqual([
    ["memory.max", String(MB)],
    ["memory.swap.max", "0"],
    ["memory.oom.group", "1"],
    ["pids.max", "3"],
    ["cpu.max", "50000 100000"],
  ]);
  expect(limitFiles(resources({ memory: MB, processes: 3, cpu: 2 }), true, ["pids", "memory"])).toEqual([
    ["memory.max", String(33 * MB)],
    ["memory.swap.max", "0"],
    ["memory.oom.group", "1"],
    ["pids.max", "67"],
  ]);
});

describe("files of a group, played by a folder", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "holdfast-cgroup-"));
    for (const [file, text] of Object.entries({
      "cgroup.procs": "",
      "cgroup.subtree_control": "",
      "cgroup.controllers": "cpu memory pids\n",
    }))
      writeFileSync(join(folder, file), text);
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  const facts = () => ({
    kind: "v2" as const,
    folder,
    controllers: ["memory" as const, "cpu" as const],
    reason: "delegated",
  });

  test("what is used is read from the kernel's files", () => {
    const leaf = join(folder, "leaf");
    mkdirSync(leaf);
    const files = {
      "memory.stat": `anon ${40 * MB}\nfile ${900 * MB}\n`,
      "memory.events": "low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\n",
      "cpu.stat": "usage_usec 1234000\nuser_usec 1\n",
      "cgroup.procs": "10\n11\n",
      "pids.events": "max 3\n",
    };
    for (const [file, text] of Object.entries(files)) writeFileSync(join(leaf, file), text);
    const use = CgroupLeaf.at(leaf, clock, ["memory", "pids"]).read();
    expect(use).toEqual({ memoryBytes: 40 * MB, cpuMs: 1234, processes: 2, oomKills: 1, forksRefused: 3 });
    expect(CgroupLeaf.at(leaf, clock).read()).toMatchObject({ memoryBytes: 0, oomKills: 0, forksRefused: 0 });
  });

  test("a controller that cannot be switched on is left out, with the reason", async () => {
    rmSync(join(folder, "cgroup.subtree_control"));
    mkdirSync(join(folder, "cgroup.subtree_control"));
    mkdirSync(join(folder, "agent"));
    writeFileSync(join(folder, "agent", "cgroup.procs"), "");
    const { facts: left, cgroup } = await createCgroup(facts(), { clock });
    expect(left).toMatchObject({ kind: "v2", controllers: [] });
    expect(left.reason).toContain("memory: ");
    expect(left.reason).toContain("cpu: ");
    expect(cgroup).not.toBeNull();
  });

  test("a group that cannot be used is none, with the reason", async () => {
    rmSync(join(folder, "cgroup.procs"));
    const { facts: left, cgroup } = await createCgroup(facts(), { clock });
    expect(left.kind).toBe("none");
    expect(left.reason).toContain(`cannot use ${folder}`);
    expect(cgroup).toBeNull();
  });

  test("leaves no half-made group behind", () => {
    expect(() =>
      CgroupLeaf.make({
        folder: join(folder, "half"),
        resources: resources(),
        host: false,
        controllers: ["cpu"],
        clock,
      }),
    ).toThrow("cannot set the limits of");
    expect(existsSync(join(folder, "half"))).toBe(false);
  });
});

describe.skipIf(!canMake)("real groups without controllers", () => {
  let hostiles: Hostiles;
  let base: string;
  const name = () => base.slice(mount!.length);
  beforeEach(() => {
    hostiles = new Hostiles();
    base = join(mount!, `holdfast-test-${crypto.randomUUID()}`);
    mkdirSync(base);
  });
  afterEach(async () => {
    await hostiles.end();
    await CgroupLeaf.at(base, clock).remove();
    expect(existsSync(base)).toBe(false);
  });

  const open = (attributes: Record<string, string>, membership = `0::${name()}\n`, root = true) =>
    openCgroup({
      root,
      mount: mount!,
      membership,
      clock,
      xattr: (path, key) => attributes[`${path} ${key}`] ?? null,
    });
  const handedOver = () => ({ [`${base} trusted.delegate`]: "1" });
  const join0 = (folder: string, script: string) =>
    hostiles.sh(`echo 0 > "$1/cgroup.procs" || exit 9; ${script}`, folder);

  test("root's right to write proves nothing", async () => {
    const { facts, cgroup } = await open({});
    expect(facts).toEqual({
      kind: "none",
      reason: `${base} is not delegated to the agent (no Delegate= in its unit)`,
    });
    expect(cgroup).toBeNull();
  });

  test("an attribute does; the agent moves out of the way", async () => {
    const child = join0(base, "sleep 60; :");
    await until("it is in the group", () =>
      readFileSync(join(base, "cgroup.procs"), "utf8").includes(`${child.pid}\n`),
    );
    const { facts } = await open(handedOver());
    expect(facts).toMatchObject({
      kind: "v2",
      folder: base,
      controllers: [],
      reason: "delegated to the agent",
    });
    expect(readFileSync(join(base, "cgroup.procs"), "utf8")).toBe("");
    expect(readFileSync(join(base, "agent", "cgroup.procs"), "utf8")).toContain(`${child.pid}\n`);
    // As an agent that was started from there finds it.
    const again = await open(handedOver(), `0::${name()}/agent\n`);
    expect(again.facts).toMatchObject({ kind: "v2", folder: base });
  });

  test("for others the right to write does", async () => {
    const { facts } = await open({}, `0::${name()}\n`, false);
    expect(facts).toMatchObject({ kind: "v2", folder: base });
  });

  test("a leaf counts, kills what broke away, and goes", async () => {
    const { cgroup } = await open(handedOver());
    const leaf = await cgroup!.leaf("job-1", resources(), false);
    const child = join0(
      leaf.folder,
      "setsid sh -c 'sleep 60; :' & (setsid sleep 61 &) ; while :; do :; done",
    );
    await until("all are there", () => leaf.read().processes >= 4);
    await until("it has used time", () => leaf.read().cpuMs > 20);
    killAll(child.pid, leaf);
    await child.exited;
    await leaf.remove();
    expect(existsSync(leaf.folder)).toBe(false);
  });

  test("leaves of an agent that is gone are removed, with what runs in them; those of a live one stay", async () => {
    const agent = join0(base, "sleep 60; :");
    await until("it is in the group", () =>
      readFileSync(join(base, "cgroup.procs"), "utf8").includes(`${agent.pid}\n`),
    );
    await open(handedOver());
    const workers = join(base, "workers");
    mkdirSync(join(workers, "999999.old", "inner"), { recursive: true });
    mkdirSync(join(workers, `${agent.pid}.live`));
    const left = join0(join(workers, "999999.old", "inner"), "sleep 60; :");
    await until(
      "it is in the leaf",
      () => readFileSync(join(workers, "999999.old/inner/cgroup.procs"), "utf8") !== "",
    );
    await open(handedOver());
    await left.exited;
    expect(readdirSync(workers).filter((entry) => /^\d/.test(entry))).toEqual([`${agent.pid}.live`]);
  });
});

// Says that this runs in a unit with Delegate=yes: nothing may be missing then.
describe.skipIf(process.env.HOLDFAST_TEST_CGROUP !== "1")("real controllers", () => {
  test("memory, processes and processor time are held by the kernel", async () => {
    const { facts, cgroup } = await openCgroup({ root: process.getuid?.() === 0, clock });
    expect(facts).toMatchObject({ kind: "v2", controllers: ["memory", "pids", "cpu"] });
    const hostiles = new Hostiles();
    const watcher = new LimitWatcher(clock);
    try {
      const limits = resources({ memory: 64 * MB, processes: 8, cpu: 0.2 });
      const live = async (id: string, command: string[], ms?: number) => {
        const leaf = await cgroup!.leaf(id, limits, false);
        const child = hostiles.run([
          "sh",
          "-c",
          'echo 0 > "$0/cgroup.procs" || exit 9; exec "$@"',
          leaf.folder,
          ...command,
        ]);
        const kill = () => killAll(child.pid, leaf);
        const watch = watcher.add({
          pid: child.pid,
          resources: limits,
          folder: hostiles.folder,
          leaf,
          host: false,
          confined: true,
          kill,
        });
        if (ms !== undefined) void clock.sleep(ms).then(kill);
        await child.exited;
        watch.stop();
        const { oomKills, forksRefused } = leaf.read();
        await leaf.remove();
        expect(existsSync(leaf.folder)).toBe(false);
        const exit = { code: child.exitCode, signal: child.signalCode as string | null };
        const peak = watch.peak();
        return verdictOf({
          exit,
          hit: watch.hit(),
          oomKills,
          forksRefused,
          peak,
          resources: limits,
          denials: [],
          host: false,
        });
      };
      const hog = await live("hog", [
        "python3",
        "-c",
        "b = []\nwhile len(b) < 1000: b.append(b'x' * (1 << 20) + b'y')",
      ]);
      expect(hog.cause).toBe("memory");
      const forks = "i=0; while [ $i -lt 30 ]; do sleep 2 & i=$((i+1)); done; wait";
      const bomb = await live("forks", ["sh", "-c", forks]);
      expect(bomb.peak.processes).toBeLessThanOrEqual(8);
      expect(bomb).toMatchObject({ cause: "denied", text: "denied: more than 8 processes at once" });
      const spin = await live("spin", ["sh", "-c", "while :; do :; done"], 4000);
      expect(spin.peak.cpuMs).toBeLessThan(1200);
    } finally {
      watcher.stop();
      await hostiles.end();
    }
  }, 60_000);
});

function cgroup2Mount(): string | undefined {
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  return mounts.map((line) => line.split(" ")).find(([, , type]) => type === "cgroup2")?.[1];
}

function writable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    const probe = join(path, `holdfast-probe-${crypto.randomUUID()}`);
    mkdirSync(probe);
    rmdirSync(probe);
    return true;
  } catch {
    return false;
  }
}
