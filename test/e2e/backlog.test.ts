/**
 * A hub that was away, on the compiled executable: what had gathered drains in a segment of its own, a fresh line is at the
 * hub before the end of it, and in the end both sides have the same rows in whole chains.
 */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { buildExecutable, type Holdfast, startHoldfast, temporaryHome, until } from "./harness.ts";
import { followLog, succeeds } from "./followed-log.ts";

const ID = "web-01";
const LINES = 9000;

interface Status {
  sync: { state: string; lagRows: number; backlogRows: number };
  store: { events: number };
}

let executable: string;
let hubHome: string;
let home: string;
let log: string;
let hub: Holdfast;
let agent: Holdfast;
let hubArgs: string[];

const holdfast = (...args: string[]) => succeeds(executable, args);

beforeAll(async () => {
  executable = await buildExecutable();
  ({ hubHome, home, log, hub, hubArgs } = await followLog(
    executable,
    temporaryHome(),
    ID,
    "sync: { backlog: { rate: 128KB } }\n",
  ));
  const args = ["agent", "run", "--home", home, "--id", ID, "--json"];
  agent = await startHoldfast(executable, args, { HOLDFAST__HEALTH__LISTEN: "127.0.0.1:0" });
}, 240_000);

afterAll(async () => {
  await Promise.all([hub, agent].map((each) => each?.kill()));
});

async function status(): Promise<Status> {
  return JSON.parse(await holdfast("agent", "status", "--home", home, "--id", ID, "--json")) as Status;
}

function append(from: number, to: number): void {
  appendFileSync(log, Array.from({ length: to - from + 1 }, (_, index) => `line ${from + index}\n`).join(""));
}

/** Lines in the order in which they came to the hub. */
function arrived(): number[] {
  const database = new Database(join(hubHome, "hub/data/hub.db"), { readonly: true });
  const rows = database
    .query(
      `SELECT CAST(records.body AS TEXT) AS body FROM events
        JOIN records ON records.stream = events.stream AND records.number = events.number
        WHERE events.type = 'log.line' ORDER BY events.n`,
    )
    .all() as { body: string }[];
  database.close();
  return rows.map(({ body }) => Number(/line (\d+)/.exec(body)![1]));
}

test("a fresh line passes what had gathered, and all of it arrives", async () => {
  append(1, 10);
  await until("the first lines are at the hub", async () => {
    const { sync, store } = await status();
    return store.events >= 10 && sync.state === "online" && sync.lagRows === 0;
  });
  expect(await hub.stop()).toBe(0);
  append(11, LINES);
  await until("the lines have gathered", async () => (await status()).store.events >= LINES, 120_000);
  hub = await startHoldfast(executable, hubArgs);
  await until("the backlog drains", async () => (await status()).sync.backlogRows > 0, 120_000);
  append(LINES + 1, LINES + 1);
  await until("all is at the hub", async () => (await status()).sync.lagRows === 0, 180_000);
  await until("the fresh line too", () => arrived().length === LINES + 1, 60_000);

  const lines = arrived();
  expect(lines.toSorted((a, b) => a - b)).toEqual(Array.from({ length: LINES + 1 }, (_, at) => at + 1));
  expect(lines.indexOf(LINES + 1)).toBeLessThan(LINES);
  // Within each stream they came in order.
  const gathered = lines.filter((line) => line <= LINES);
  expect(gathered).toEqual(gathered.toSorted((a, b) => a - b));
  await holdfast("verify", "--home", home, "--id", ID);
  expect(await hub.stop()).toBe(0);
  await holdfast("verify", "--hub", "--home", hubHome);
}, 600_000);
