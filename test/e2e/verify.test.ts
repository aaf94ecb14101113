/** `holdfast verify` on stores of real agents and a real hub, and the verifier in Python on what it exports of them. */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { copyFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { runHoldfast, until } from "./harness.ts";
import { type Verified, type VerifyAgent, VerifyWorld } from "./verify-world.ts";

const EVENTS = 2;
const LINES = 200;
const LOST = 5000;

let world: VerifyWorld;
let agent: VerifyAgent;
beforeAll(async () => {
  world = new VerifyWorld();
  await world.start();
  agent = await world.enroll("web-01");
  agent.write(LINES);
  await agent.start();
  await agent.settled(LINES);
}, 240_000);
afterAll(async () => {
  await Promise.all([world.hub?.kill(), agent?.process?.kill()]);
});

const faultsOf = ({ streams }: Verified) =>
  streams.flatMap(({ problems }) =>
    (problems as { kind: string; number: number }[]).map(({ kind, number }) => ({ kind, number })),
  );

const eventsStream = ({ streams }: Verified) => streams.find(({ lane }) => lane === EVENTS)!;

test("both sides are whole while they run, and the agent's receipts prove the hub's copy", async () => {
  const here = await agent.verify();
  expect(here).toMatchObject({ exit: 0, summary: { ok: true, side: "agent", agent: "web-01" } });
  const { last, proved, acknowledged } = eventsStream(here);
  expect(proved.number).toBe(last);
  expect(acknowledged).toBe(last);
  const there = await world.verifyHub();
  expect(there).toMatchObject({ exit: 0, summary: { ok: true, side: "hub", problems: [] } });
  expect(eventsStream(there)).toMatchObject({ last, rows: last, problems: [] });
  const [shown] = there.summary.projections;
  expect(shown).toMatchObject({ agent: "web-01", records: last, events: last, absent: 0, unfounded: 0 });
});

/** Each does to row 100 of a table what SQL can do. */
const SPOILED: [what: string, kind: string, hub: string[], agent: string[]][] = [
  [
    "one byte is flipped",
    "altered",
    [
      "UPDATE records SET body = CAST(replace(CAST(body AS TEXT), 'well', 'wel1') AS BLOB) WHERE stream = $ AND number = 100",
    ],
    [
      "UPDATE events SET body = replace(body, 'well', 'wel1') WHERE n = (SELECT event_n FROM outbox WHERE lane = 2 AND number = 100)",
    ],
  ],
  [
    "a row is dropped",
    "missing",
    ["DELETE FROM records WHERE stream = $ AND number = 100"],
    ["DELETE FROM outbox WHERE lane = 2 AND number = 100"],
  ],
  ["two rows are swapped", "reordered", swap("records", "stream = $"), swap("outbox", "lane = 2")],
];

function swap(table: string, where: string): string[] {
  const move = (from: number, to: number) =>
    `UPDATE ${table} SET number = ${to} WHERE ${where} AND number = ${from}`;
  return [move(100, 1_000_000), move(101, 100), move(1_000_000, 101)];
}

test.each(SPOILED)("%s on a hub: told as %s", async (what, kind, statements) => {
  const { home, database } = world.copyOfHub(what.replaceAll(" ", "-"));
  const { id } = database.query("SELECT id FROM streams WHERE lane = 2").get() as { id: number };
  for (const sql of statements) expect(database.run(sql.replace("$", String(id))).changes).toBe(1);
  database.close();
  const verified = await world.verifyHub(undefined, home);
  expect(verified).toMatchObject({ exit: 1, summary: { ok: false } });
  expect(faultsOf(verified)).toEqual([{ kind, number: 100 }]);
});

test.each(SPOILED)("%s on an agent: told as %s", async (what, kind, _hub, statements) => {
  await agent.stop();
  const copy = agent.clone(`agent-${what.replaceAll(" ", "-")}`);
  await agent.start();
  const database = new Database(copy.file);
  for (const sql of statements) expect(database.run(sql).changes).toBe(1);
  database.close();
  const verified = await copy.verify();
  expect(verified).toMatchObject({ exit: 1, summary: { ok: false } });
  expect(faultsOf(verified)).toEqual([{ kind, number: 100 }]);
});

test("an event that vanished from what lists show is told, though the chain is whole", async () => {
  const { home, database } = world.copyOfHub("lists");
  database.run("DELETE FROM events WHERE number = 50");
  database.close();
  const { exit, summary } = await world.verifyHub("web-01", home);
  expect(exit).toBe(1);
  expect(summary.problems).toEqual(["agent web-01: 1 records are not in what lists show"]);
});

test("a hub that is set back to its backup has everything again, and all is whole", async () => {
  const { home, database } = world.copyOfHub("backup");
  database.close();
  const before = agent.written;
  agent.write(50);
  await agent.settled(before + 50);
  await world.hub.stop();
  for (const end of ["-wal", "-shm"]) rmSync(`${world.hubFile}${end}`, { force: true });
  copyFileSync(join(home, "hub", "data", "hub.db"), world.hubFile);
  await world.startHub();
  await until("the hub to have every line again", () => world.eventsOf("web-01") === agent.written);
  expect(await agent.verify()).toMatchObject({ exit: 0 });
  expect(await world.verifyHub()).toMatchObject({ exit: 0, summary: { ok: true } });
}, 120_000);

test("an agent that is set back goes on in a new epoch; both histories are whole", async () => {
  const restored = await world.enroll("restored-01");
  restored.write(60);
  await restored.start();
  await restored.settled(60);
  await restored.stop();
  const backup = restored.backup();
  restored.write(40);
  await restored.start();
  await restored.settled(100);
  await restored.stop();
  restored.restore(backup);
  await restored.start();
  await restored.settled(100);
  await until("a second epoch on the hub", async () => (await epochsOf("restored-01")) === 2);
  expect(await restored.verify()).toMatchObject({ exit: 0 });
  const there = await world.verifyHub("restored-01");
  expect(there).toMatchObject({ exit: 0, summary: { ok: true, agent: "restored-01" } });
  await restored.stop();
}, 120_000);

test("a clone and its original both go on, and nothing of either is dropped", async () => {
  const original = await world.enroll("cloned-01");
  original.write(60);
  await original.start();
  await original.settled(60);
  await original.stop();
  const clone = original.clone("clone-home");
  for (const [each, lines] of [
    [original, 30],
    [clone, 45],
  ] as const) {
    each.write(lines);
    await each.start();
    await each.settled(60 + lines);
    await each.stop();
    expect(await each.verify()).toMatchObject({ exit: 0 });
  }
  expect(await world.verifyHub("cloned-01")).toMatchObject({ exit: 0, summary: { ok: true } });
  expect(await epochsOf("cloned-01")).toBe(2);
  expect(world.eventsOf("cloned-01")).toBe(60 + 30 + 45);
}, 120_000);

async function epochsOf(id: string): Promise<number> {
  const { streams } = await world.verifyHub(id);
  return new Set(streams.map(({ epoch }) => epoch)).size;
}

test("rows that had to go under a cap are told on both sides, signed", async () => {
  const full = await world.enroll("full-01", "sync: { outbox: { rows: 10000, size: 8MB } }\n");
  await full.start();
  full.write(1);
  await full.settled(1);
  await world.hub.stop();
  full.write(30_000);
  await until("rows to go", () => full.lost() >= LOST, 120_000);
  const atRest = eventsStream(await full.verify());
  expect(atRest.problems).toEqual([]);
  expect(atRest.losses[0]).toMatchObject({ reason: "cap", signature: "at rest" });
  await world.startHub();
  await full.settled(30_001);
  const here = await full.verify();
  expect(here).toMatchObject({ exit: 0, summary: { ok: true } });
  const there = await world.verifyHub("full-01");
  expect(there).toMatchObject({ exit: 0, summary: { ok: true } });
  const told = there.streams.filter(({ lane }) => lane === EVENTS);
  for (const { losses } of told) for (const { signature } of losses) expect(signature).toBe("good");
  expect(there.summary.totals.lost).toBeGreaterThanOrEqual(LOST);
  expect(there.summary.totals.lost).toBe(here.summary.totals.lost);
  // Every line, and what the agent had to say of itself, is a row or counted as lost.
  const rows = told.reduce((sum, { classes }) => sum + (classes[1] ?? 0), 0);
  expect(rows + there.summary.totals.lost).toBe(told.reduce((sum, { last }) => sum + last, 0));
  await full.stop();
}, 240_000);

test("wrong words are answered with what to do", async () => {
  const run = async (...args: string[]) => {
    const { exitCode, stderr } = await runHoldfast(world.executable, ["verify", ...args]);
    return [exitCode, stderr.trim()];
  };
  const hub = ["--hub", "--home", world.hubHome];
  expect(await run(...hub, "--agent", "nobody-01")).toEqual([
    3,
    expect.stringContaining("no agent nobody-01"),
  ]);
  expect(await run(...hub, "--id", "web-01")).toEqual([2, expect.stringContaining("--hub --agent ID")]);
  expect(await run("--agent", "web-01")).toEqual([2, expect.stringContaining("--agent goes with --hub")]);
  expect(await run("--hub", "--home", agent.home)).toEqual([3, expect.stringContaining("There is no hub")]);
  expect(await run("--file", join(world.base, "none"))).toEqual([
    3,
    expect.stringContaining("there is no file"),
  ]);
  expect(await run(...hub, "--export", agent.log)).toEqual([1, expect.stringContaining("exists already")]);
  expect(await run("--file", agent.log)).toEqual([1, expect.stringContaining("line 1 of the export")]);
});
