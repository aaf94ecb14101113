/**
 * An agent of the compiled executable on a disk that gets full or read-only: it says why, nothing that was answered is
 * lost, and it goes on when it can. As root, which may mount; elsewhere these tests are skipped, and say so.
 */
import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { engineArguments, startEngine, untilQuiet } from "./engine-agent.ts";
import { EngineHome, ID, type Kind } from "./engine-home.ts";
import { breaches } from "./engine-invariants.ts";
import { readRows, type Rows } from "./engine-rows.ts";
import { FailingDisk, type SmallDisk, Tmpfs } from "./engine-small-disk.ts";
import { buildExecutable, type Holdfast, runHoldfast, temporaryHome, until } from "./harness.ts";

const EACH: Kind[] = ["graph", "list", "broken", "locked", "late", "outer", "quick", "hit", "hit", "calm"];

const base = temporaryHome();
let executable: string;

beforeAll(async () => {
  executable = await buildExecutable();
}, 240_000);

const mayMount = works(Tmpfs.mount(join(base, "try")));
const mayFail = mayMount && works(FailingDisk.mount(join(base, "try-failing")));
const skipped = (what: string, why: string) => console.warn(`SKIPPED: ${what}: ${why}`);
if (!mayMount) skipped("full and read-only disks", "this user may not mount a tmpfs; run the tests as root");
else if (!mayFail) skipped("a disk with errors", "no loop device or no mkfs.ext4 here");

test.skipIf(process.getuid?.() !== 0 || !process.env.CI)("root in CI skips none of these", () => {
  expect(mayMount).toBe(true);
});

function works(disk: SmallDisk | null): boolean {
  disk?.unmount();
  return disk !== null;
}

/** Home on the disk; the log that is followed and what the scripts tell beside it, so that these always work. */
async function onDisk<T extends SmallDisk>(
  disk: T | null,
  body: (disk: T, home: EngineHome) => Promise<void>,
): Promise<void> {
  const outside = `${disk!.folder}-outside`;
  mkdirSync(outside);
  try {
    const home = new EngineHome(disk!.folder, outside);
    disk!.settle();
    await body(disk!, home);
  } finally {
    disk!.unmount();
  }
}

async function readyz(agent: Holdfast): Promise<string> {
  const response = await fetch(`${agent.ready.health}/readyz?verbose`);
  return `${response.status} ${await response.text()}`;
}

const ask = (home: EngineHome, ...words: string[]) =>
  runHoldfast(executable, [...words, "--home", home.base, "--id", ID]);

/** Busy on the first runs of many: scripts have begun, and lines wait. */
async function atWork(home: EngineHome): Promise<Holdfast> {
  const agent = await startEngine(executable, home);
  for (let i = 0; i < 4; i++) home.write(EACH);
  await until("scripts begin", () => home.told().length > 5);
  return agent;
}

async function refuses(home: EngineHome, agent: Holdfast, why: RegExp): Promise<void> {
  await until("readyz to say why", async () => {
    const said = await readyz(agent);
    return said.startsWith("503") && why.test(said);
  });
  const emitted = await ask(home, "events", "emit", "test.refused");
  expect(emitted).toMatchObject({ exitCode: 1, stdout: "", stderr: expect.stringMatching(why) });
  const started = await ask(home, "run", "quick");
  expect(started).toMatchObject({ exitCode: 1, stdout: "", stderr: expect.stringMatching(why) });
}

/** Everything that was written is done, all that was answered is there, and what was refused is not. */
async function endsWell(home: EngineHome, agent: Holdfast, answered: number): Promise<Rows> {
  await untilQuiet(home);
  await until("readyz to be well again", async () => (await readyz(agent)).startsWith("200"));
  expect(await agent.stop()).toBe(0);
  const rows = readRows(home.database);
  expect(breaches(home, rows)).toEqual([]);
  expect(rows.events.filter((event) => event.type === "test.answered")).toHaveLength(answered);
  expect(rows.events.filter((event) => event.type === "test.refused")).toEqual([]);
  expect(rows.runs.filter((run) => run.starter === "manual")).toEqual([]);
  expect(readdirSync(join(home.root, "data", "state")).filter((name) => name.includes("corrupt"))).toEqual(
    [],
  );
  return rows;
}

/** Linux answers an fsync that is under way as the disk fails with yes, and loses it: not what is tested here. */
async function whileStopped(pid: number, work: () => void): Promise<void> {
  const states = () =>
    readdirSync(`/proc/${pid}/task`).map((task) =>
      readFileSync(`/proc/${pid}/task/${task}/stat`, "utf8").split(") ").at(-1)!.charAt(0),
    );
  process.kill(pid, "SIGSTOP");
  try {
    await until("every thread to stand still", () => states().every((state) => state === "T"));
    work();
  } finally {
    process.kill(pid, "SIGCONT");
  }
}

async function answer(home: EngineHome): Promise<void> {
  expect(await ask(home, "events", "emit", "test.answered")).toMatchObject({ exitCode: 0, stderr: "" });
}

test.skipIf(!mayMount)(
  "a full disk: the agent waits, and goes on when there is room",
  () =>
    onDisk(Tmpfs.mount(join(base, "full")), async (disk, home) => {
      const agent = await atWork(home);
      await answer(home);
      disk.fill();
      home.write(EACH);
      await refuses(home, agent, /the disk is full/);
      disk.free();
      await until("readyz to be well again", async () => (await readyz(agent)).startsWith("200"));
      await answer(home);
      const rows = await endsWell(home, agent, 2);
      // A result that could not be stored was kept until it could: no outcome became unknown.
      expect(rows.attempts.filter((row) => row.state === "unknown")).toEqual([]);
    }),
  120_000,
);

test.skipIf(!mayMount)(
  "kill -9 on a full disk: the next start says why it cannot be, and nothing is lost",
  () =>
    onDisk(Tmpfs.mount(join(base, "killed")), async (disk, home) => {
      const agent = await atWork(home);
      await answer(home);
      disk.fill();
      home.write(EACH);
      await refuses(home, agent, /the disk is full/);
      await agent.kill();
      // What its workers had open is gone with them, and is room.
      disk.fill();
      // An agent that starts all the same would be waited for without an end.
      const refused = await runHoldfast("timeout", ["30", executable, ...engineArguments(home)]);
      expect(refused).toMatchObject({
        exitCode: 1,
        stderr: expect.stringMatching(/agent\.db.*the disk is full/),
      });
      disk.free();
      await endsWell(home, await startEngine(executable, home), 1);
    }),
  120_000,
);

test.skipIf(!mayMount)(
  "a read-only disk: the agent does not start and says why, and goes on when it can write",
  () =>
    onDisk(Tmpfs.mount(join(base, "readonly")), async (disk, home) => {
      const agent = await atWork(home);
      await answer(home);
      await agent.kill();
      await until("nobody writes there", () => {
        try {
          disk.remount("ro");
          return true;
        } catch {
          return false;
        }
      });
      home.write(EACH);
      const refused = await runHoldfast(executable, engineArguments(home));
      expect(refused).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/read-only/i) });
      disk.remount("rw");
      await endsWell(home, await startEngine(executable, home), 1);
    }),
  120_000,
);

test.skipIf(!mayFail)(
  "a disk that becomes read-only under the agent: it says why, and goes on after the repair",
  () =>
    onDisk(FailingDisk.mount(join(base, "failing")), async (disk, home) => {
      const agent = await atWork(home);
      await answer(home);
      await whileStopped(agent.pid, () => disk.fail());
      home.write(EACH);
      await refuses(home, agent, /read-only|I\/O error/i);
      await agent.kill();
      await disk.repair();
      await endsWell(home, await startEngine(executable, home), 1);
    }),
  120_000,
);
