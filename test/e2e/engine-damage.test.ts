/**
 * An agent of the compiled executable whose store is damaged while it is down: cut short, and with single bits flipped at
 * many places. What is set aside is named and kept; open runs go on where they were, or are told as lost; and what was
 * done once is not done again.
 */
import { beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { randomOf, startEngine } from "./engine-agent.ts";
import { EngineHome, ID, type Kind } from "./engine-home.ts";
import { beganTwice } from "./engine-effects.ts";
import { breaches } from "./engine-invariants.ts";
import { count, readRows, withStore } from "./engine-rows.ts";
import { buildExecutable, type Holdfast, runHoldfast, temporaryHome, until } from "./harness.ts";

const EACH: Kind[] = ["graph", "list", "broken", "locked", "late", "outer", "quick", "hit", "hit", "calm"];
/** Runs that wait for a person, or for the lock of the one that does. */
const ASKING = 3;
const FLIPS = 10;
const SEED = 20261121;

interface Status {
  asking: { run: string; step: string }[];
  runs: { open: number };
  store: { salvage: { movedTo: string; salvaged: Record<string, number> } | null };
}

let executable: string;
let home: EngineHome;
/** The store after a graceful stop, and what the scripts had told by then. */
let sound: Buffer;
let journal: string;
let lines: number;
let openRunIds: string[];

beforeAll(async () => {
  executable = await buildExecutable();
  home = new EngineHome(temporaryHome());
  const agent = await startEngine(executable, home);
  for (let i = 0; i < 3; i++) home.write(EACH);
  home.write(["asks", "asks", "asks"]);
  await until("everything but what asks to end", () =>
    withStore(home.database, (database) => {
      const waiting = count(database, "steps WHERE waits = 'approval'");
      const all = count(database, "events WHERE type = 'log.line'") === home.written.length;
      return all && waiting === 1 && count(database, "runs WHERE open = 1") === ASKING;
    }),
  );
  expect(await agent.stop()).toBe(0);
  home.follow("end");
  sound = readFileSync(home.database);
  journal = readFileSync(home.journal, "utf8");
  lines = home.written.length;
  openRunIds = withStore(home.database, (database) =>
    (database.query("SELECT id FROM runs WHERE open = 1").all() as { id: string }[]).map(({ id }) => id),
  );
}, 240_000);

const stateFolder = () => dirname(home.database);
const setAside = () =>
  readdirSync(stateFolder()).filter((name) => /^agent\.db\.corrupt-\d{8}T\d{6}Z$/.test(name));

function restore(store: Buffer): void {
  for (const name of readdirSync(stateFolder()))
    if (name.startsWith("agent.db")) rmSync(join(stateFolder(), name));
  writeFileSync(home.database, store);
  writeFileSync(home.journal, journal);
  home.written.length = lines;
  writeFileSync(home.log, home.written.map(({ text }) => `${text}\n`).join(""));
}

const ask = (...words: string[]) => runHoldfast(executable, [...words, "--home", home.base, "--id", ID]);

async function status(): Promise<Status> {
  return JSON.parse((await ask("agent", "status", "--json")).stdout) as Status;
}

/** Says yes to each run in turn: the next gets the lock when the one before has ended. */
async function approveAll(): Promise<string[]> {
  const answered: string[] = [];
  for (;;) {
    let left = await status();
    // By the clock, not by the number of looks: on a busy machine a script may take longer than many of them.
    await until("a run that is open to ask, or to end", async () => {
      left = await status();
      return left.runs.open === 0 || left.asking.length > 0;
    }).catch((error: Error) => {
      throw new Error(`${left.runs.open} runs stay open after [${answered.join(", ")}]: ${error.message}`);
    });
    if (left.runs.open === 0) return answered;
    for (const { run, step } of left.asking) {
      const { exitCode, stderr } = await ask("runs", "approve", run, "--step", step);
      expect([exitCode, stderr]).toEqual([0, ""]);
      answered.push(run);
    }
  }
}

/** Starts on a damaged store and sees it through. True when the damage was noticed. `wanted`: how many are to be saved. */
async function seesThrough(damaged: Buffer, wanted?: number): Promise<boolean> {
  restore(damaged);
  const { agent, starts } = await started();
  try {
    return await goesOn(agent, damaged, starts === 1, wanted);
  } finally {
    await agent.kill();
  }
}

async function goesOn(
  agent: Holdfast,
  damaged: Buffer,
  untouched: boolean,
  wanted: number | undefined,
): Promise<boolean> {
  const { store, runs } = await status();
  const noticed = store.salvage !== null;
  if (store.salvage) await isReported(agent, store.salvage.movedTo, untouched ? damaged : null);
  else expect(setAside()).toEqual([]);
  const lost = store.salvage?.salvaged.runsLost ?? 0;
  const saved = store.salvage?.salvaged.runs ?? ASKING;
  // Where not even the list of runs can be read, nobody can say how many there were.
  expect(saved + lost).toBeLessThanOrEqual(ASKING);
  expect(runs.open).toBe(saved);
  if (wanted !== undefined) expect([saved, lost]).toEqual([wanted, ASKING - wanted]);
  const answered = await approveAll();
  expect(answered).toHaveLength(saved);
  expect(answered).toEqual(answered.toSorted());

  const quick = await actsOnNewLines();
  expect(await agent.stop()).toBe(0);
  // Bytes of texts that nobody had to read yet are found by who does: such a store is not compared as a whole.
  if (noticed || damaged === sound) expect(breaches(home, readRows(home.database), noticed)).toEqual([]);
  else expect(beganTwice(home.told())).toEqual([]);
  isNotDoneAgain(answered, quick);
  return noticed;
}

/** Gives how many lines it took: a trigger that has lost its place begins with what comes after its start. */
async function actsOnNewLines(): Promise<number> {
  const before = home.told().length;
  let written = 0;
  for (; home.told().length === before && written < 50; written++) {
    home.write(["quick"]);
    await until("a new line is acted on", () => home.told().length > before, 500).catch(() => {});
  }
  await until("its run ends", async () => (await status()).runs.open === 0);
  return written;
}

/** What was done before is not done again, by no run: only what was open goes on, and what is new begins. */
function isNotDoneAgain(answered: string[], quick: number): void {
  const old = journal.split("\n").length - 1;
  const told = home.told();
  const done = new Set(told.slice(0, old).map(({ key }) => key));
  const added = told.slice(old);
  expect(added.filter(({ key }) => done.has(key))).toEqual([]);
  const begun = [...new Set(added.map(({ run }) => run))].filter((run) => !answered.includes(run));
  expect(begun.length).toBeLessThanOrEqual(quick);
  const others = withStore(home.database, (database) =>
    begun.filter((run) => count(database, `runs WHERE pipeline = 'quick' AND id = '${run}'`) === 0),
  );
  expect(others).toEqual([]);
}

/** Damage within a row shows when the row is read: then it is the next start that sets the file aside. */
async function started(): Promise<{ agent: Holdfast; starts: number }> {
  try {
    return { agent: await startEngine(executable, home), starts: 1 };
  } catch (error) {
    if (!(error as Error).message.includes("start the agent again")) throw error;
    return { agent: await startEngine(executable, home), starts: 2 };
  }
}

async function isReported(agent: Holdfast, movedTo: string, damaged: Buffer | null): Promise<void> {
  expect(setAside()).toEqual([basename(movedTo)]);
  if (damaged) expect(readFileSync(movedTo).equals(damaged)).toBe(true);
  const ready = await fetch(`${agent.ready.health}/readyz?verbose`);
  expect([ready.status, await ready.text()]).toEqual([
    200,
    expect.stringContaining(`[~]store degraded: a corrupt store was set aside as ${movedTo}`),
  ]);
}

/** Not where rows of open runs are: what they say is believed as long as it can be read. */
function placeIn(store: Buffer, random: () => number): number {
  for (;;) {
    const at = Math.floor(random() * store.length);
    const page = store.subarray(at - (at % 4096), at - (at % 4096) + 4096);
    if (!isOfOpenRuns(page)) return at;
  }
}

/** The row of the run, or of its first step: the step's id and its part stand side by side. */
const isOfOpenRuns = (page: Buffer) =>
  openRunIds.some((id) => page.includes(id)) || page.includes("beforesteps");

describe("a store that is damaged while the agent is down", () => {
  test("sound, it goes on as if nothing had been", async () => {
    expect(await seesThrough(sound)).toBe(false);
  }, 60_000);

  test("without its last page: every open run that was not on it is saved", async () => {
    const wanted = isOfOpenRuns(sound.subarray(sound.length - 4096)) ? undefined : ASKING;
    expect(await seesThrough(sound.subarray(0, sound.length - 4096), wanted)).toBe(true);
  }, 60_000);

  test.each([0.9, 0.5, 0.1])(
    "cut to %d of its length",
    async (share) => {
      expect(await seesThrough(sound.subarray(0, Math.floor(sound.length * share)))).toBe(true);
    },
    60_000,
  );

  test("a byte of what an open run asks: that run is told as lost, the others go on", async () => {
    const damaged = Buffer.from(sound);
    // Not the pipeline's definition, which says more between the two words.
    const asked = `"text":"Really?","approvers"`;
    for (let at = damaged.indexOf(asked); at >= 0; at = damaged.indexOf(asked, at + 1)) damaged[at] = 0x78;
    expect(await seesThrough(damaged, ASKING - 1)).toBe(true);
  }, 60_000);

  test("a page of noise in the middle", async () => {
    const damaged = Buffer.from(sound);
    const random = randomOf(SEED);
    const from = Math.floor(sound.length / 8192) * 4096;
    for (let at = from; at < from + 4096; at++) damaged[at] = Math.floor(random() * 256);
    expect(await seesThrough(damaged)).toBe(true);
  }, 60_000);

  test(`${FLIPS} times a few bits flipped anywhere (seed ${SEED})`, async () => {
    const random = randomOf(SEED);
    let noticed = 0;
    for (let n = 0; n < FLIPS; n++) {
      const damaged = Buffer.from(sound);
      const places = Array.from({ length: 1 + (n % 4) }, () => placeIn(sound, random));
      for (const at of places) damaged[at]! ^= 1 << Math.floor(random() * 8);
      try {
        if (await seesThrough(damaged)) noticed++;
      } catch (error) {
        throw new Error(`with bits flipped at ${places}: ${(error as Error).message}`, { cause: error });
      }
    }
    console.log(`${noticed} of ${FLIPS} damages were noticed at the start`);
  }, 240_000);
});
