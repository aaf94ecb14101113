import { afterEach, beforeEach, describe, expect, test, setDefaultTimeout } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../../core/clock.ts";
import type { Resources } from "../../../model/permissions.ts";
import { until } from "../../../testing/until.ts";
import { Hostiles, MB, resources } from "./hostile-fixtures.ts";
import { killAll } from "./kill-all.ts";
import { LimitWatcher } from "./limit-watch.ts";
import { readStat } from "./proc-stat.ts";
import { verdictOf } from "./verdict.ts";

// Real processes on a machine that does other things too.
setDefaultTimeout(60_000);

const clock = systemClock();
let hostiles: Hostiles;
let watcher: LimitWatcher;
beforeEach(() => {
  hostiles = new Hostiles();
  watcher = new LimitWatcher(clock);
});
afterEach(async () => {
  watcher.stop();
  await hostiles.end();
});

function watched(
  child: ReturnType<Hostiles["run"]>,
  change: Partial<Resources>,
  options: { host?: boolean; confined?: boolean } = {},
) {
  const limits = resources({ cpu: 4, ...change });
  const watch = watcher.add({
    pid: child.pid,
    resources: limits,
    folder: hostiles.folder,
    leaf: null,
    host: options.host ?? false,
    confined: options.confined ?? true,
    kill: () => killAll(child.pid, null, { pids: watch.pids() }),
  });
  const verdict = async () => {
    await child.exited;
    watch.stop();
    return verdictOf({
      exit: { code: child.exitCode, signal: child.signalCode as string | null },
      hit: watch.hit(),
      oomKills: 0,
      peak: watch.peak(),
      resources: limits,
      denials: [],
      openFiles: watch.openFiles(),
      host: options.host ?? false,
    });
  };
  return { child, watch, verdict };
}

describe("memory", () => {
  const limit = { memory: 64 * MB };

  test("a fast allocator is ended before it does harm", async () => {
    const hog = "b = []\nwhile len(b) < 3000: b.append(b'x' * (1 << 20) + b'y')";
    const end = await watched(hostiles.python(hog), limit).verdict();
    expect(end.cause).toBe("memory");
    expect(end.text).toMatch(/^memory: \d+(\.\d)? (MB|GB) used, 64 MB allowed$/);
    expect(end.peak.memoryBytes).toBeLessThan(600 * MB);
  });

  test("a JavaScript heap", async () => {
    const hog = "const a = []; while (a.length < 3e7) a.push({ n: a.length, list: [1, 2, 3] });";
    expect((await watched(hostiles.bun(hog), limit, { host: true }).verdict()).cause).toBe("memory");
  });

  test("several processes together", async () => {
    const part = "import time; x = bytearray(b'x') * 30_000_000; time.sleep(60)";
    const all = `import subprocess, sys; p = [subprocess.Popen([sys.executable, "-c", "${part}"]) for _ in range(4)]; p[0].wait()`;
    expect((await watched(hostiles.python(all), limit).verdict()).cause).toBe("memory");
  });

  test("shared memory counts", async () => {
    const hog =
      "import mmap, time\nb = []\nfor _ in range(100):\n    b.append(mmap.mmap(-1, 1 << 20)); b[-1].write(b'x' * (1 << 20))\ntime.sleep(60)";
    const end = await watched(hostiles.python(hog), limit).verdict();
    expect(end.cause).toBe("memory");
  });

  test("what several processes share on purpose counts once", async () => {
    // Written bit by bit: what is written from counts too while it is there.
    const script =
      "import mmap, os, time\nx = mmap.mmap(-1, 40_000_000)\nfor _ in range(40): x.write(b'x' * 1_000_000)\nfor _ in range(4):\n    if os.fork() == 0: sum(x[at] for at in range(0, len(x), 4096)); time.sleep(1); os._exit(0)\nfor _ in range(4): os.wait()";
    const end = await watched(hostiles.python(script), limit).verdict();
    expect(end).toMatchObject({ cause: "exited", text: "exited(0)" });
    // Seen while each of the five had all of it.
    expect(end.peak.memoryBytes).toBeGreaterThan(150 * MB);
  });

  test("what a process takes that was started in no time", async () => {
    // As a shell does it: the leader hardly runs itself, and then waits.
    const script = "(head -c 300000000 /dev/zero | tail -c 200000000 | { sleep 1; wc -c; }; :) & wait";
    const end = await watched(hostiles.sh(script), limit).verdict();
    expect(end.cause).toBe("memory");
  });

  test("what a fork shares counts once", async () => {
    const script =
      "import os, time\nx = bytearray(b'x') * 40_000_000\nfor _ in range(4):\n    if os.fork() == 0: time.sleep(1); os._exit(0)\nfor _ in range(4): os.wait()";
    const end = await watched(hostiles.python(script), limit).verdict();
    expect(end).toMatchObject({ cause: "exited", text: "exited(0)" });
    expect(end.peak.processes).toBe(5);
  });
});

describe("disk", () => {
  test("one big file", async () => {
    const script = "f = open('big', 'wb')\nfor _ in range(4000): f.write(b'x' * (1 << 20)); f.flush()";
    const end = await watched(hostiles.python(script), { disk: 8 * MB }).verdict();
    expect(end.cause).toBe("disk");
    expect(end.text).toMatch(/^disk: .+ in 1 files?, 8 MB allowed$/);
  });

  test("many empty files", async () => {
    const script = "for i in range(1_000_000): open(f'f{i}', 'w').close()";
    const end = await watched(hostiles.python(script), { disk: 8 * MB }).verdict();
    expect(end.cause).toBe("disk");
    expect(end.peak.diskBytes).toBeGreaterThan(8 * MB);
  });

  test("the largest file, by the kernel", async () => {
    const child = hostiles.run([
      "prlimit",
      "--fsize=1048576",
      "sh",
      "-c",
      "exec head -c 4000000 /dev/zero > big",
    ]);
    const end = await watched(child, { fileSize: MB }).verdict();
    expect(end).toMatchObject({ cause: "files", text: "files: a file of 1 MB is the largest allowed" });
  });
});

test("a script that keeps opening files is told so", async () => {
  const script =
    "import time\nf = []\ntry:\n    while True: f.append(open('/dev/null'))\nfinally: time.sleep(0.5)";
  const child = hostiles.run(["prlimit", "--nofile=64", "python3", "-c", script]);
  const end = await watched(child, { openFiles: 64 }).verdict();
  expect(end).toMatchObject({ cause: "files", text: "files: 64 open at once are allowed" });
});

describe("processes", () => {
  test("a fork bomb is ended with all its children", async () => {
    // Bounded, should the watch fail: 200 sleepers that end by themselves.
    const script = "i=0; while [ $i -lt 200 ]; do sleep 5 & echo $! > last; i=$((i+1)); done; wait";
    const { verdict, watch } = watched(hostiles.sh(script), { processes: 8 });
    const end = await verdict();
    expect(end.cause).toBe("denied");
    expect(end.text).toMatch(/^denied: \d+ processes at once, 8 allowed$/);
    await until("all are gone", () =>
      watch.pids().every((pid) => [undefined, "Z"].includes(readStat(pid)?.state)),
    );
  });
});

describe("processor time", () => {
  test("in all, by the kernel", async () => {
    const child = hostiles.run(["prlimit", "--cpu=1:2", "sh", "-c", "while :; do :; done"]);
    const end = await watched(child, { cpuTime: 1000 }).verdict();
    expect(end.cause).toBe("cpu");
    expect(end.text).toMatch(/^cpu: [12](\.\d)? s used, 1 s allowed$/);
  });

  test("a stopped worker can be killed, and says for how long it was stopped", async () => {
    const { child, watch, verdict } = watched(hostiles.sh("while :; do :; done"), { cpu: 0.05 });
    await until("it is stopped", () => readStat(child.pid)?.state === "T");
    await until("it was stopped for a while", () => watch.throttledMs() > 100);
    killAll(child.pid, null);
    expect(await verdict()).toMatchObject({ cause: "crashed", text: "crashed(SIGKILL)" });
  });
});

test("an unconfined worker is measured and left alone", async () => {
  const script = "x = bytearray(b'x') * 80_000_000\nimport time\ntime.sleep(1.5)";
  const end = await watched(
    hostiles.python(script),
    { memory: MB, cpu: 0.05 },
    { confined: false },
  ).verdict();
  expect(end.text).toBe("exited(0)");
});

test("an honest worker goes on beside hostile ones", async () => {
  const honest = watched(hostiles.sh("sleep 2; echo done > done"), {});
  const spin = watched(hostiles.sh("while :; do :; done"), { cpu: 0.1 });
  const hog = watched(hostiles.python("b = []\nwhile len(b) < 3000: b.append(b'x' * (1 << 20) + b'y')"), {});
  expect((await hog.verdict()).cause).toBe("memory");
  expect((await honest.verdict()).text).toBe("exited(0)");
  expect(existsSync(join(hostiles.folder, "done"))).toBe(true);
  killAll(spin.child.pid, null);
  await spin.verdict();
});

test("a worker that is gone before the first look, or twice stopped, is no trouble", async () => {
  const child = hostiles.run(["true"]);
  await child.exited;
  const { watch, verdict } = watched(child, {});
  expect(await verdict()).toMatchObject({ cause: "exited", peak: { memoryBytes: 0, processes: 0 } });
  watch.stop();
});

test("ten idle workers cost less than a thousandth of a core", async () => {
  const children = Array.from({ length: 10 }, () => hostiles.run(["sleep", "60"]));
  let looks = 0;
  let spent = 0;
  const timed = {
    ...clock,
    mono: () => clock.mono(),
    after: (ms: number, callback: () => void) =>
      clock.after(ms, () => {
        const before = process.cpuUsage();
        callback();
        const { user, system } = process.cpuUsage(before);
        spent += user + system;
        looks++;
      }),
  } as typeof clock;
  const own = new LimitWatcher(timed);
  for (const child of children) {
    own.add({
      pid: child.pid,
      resources: resources(),
      folder: hostiles.folder,
      leaf: null,
      host: true,
      confined: true,
      kill: () => child.kill("SIGKILL"),
    });
  }
  await clock.sleep(2500);
  looks = spent = 0;
  await clock.sleep(4000);
  own.stop();
  console.info(`  ten idle workers: ${looks} looks, ${spent / 4} µs a second`);
  expect(looks).toBeLessThanOrEqual(4 * 3);
  expect(spent / 4).toBeLessThan(2000);
});
