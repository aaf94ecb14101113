/**
 * A hub that is away for too long, on the compiled executable: under a small cap the oldest rows are given up, over a kill of the
 * agent too, and what the hub has and what it is told as lost are together the lines that the producing script counted.
 */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import {
  buildExecutable,
  type Holdfast,
  runHoldfast,
  startHoldfast,
  temporaryHome,
  until,
} from "./harness.ts";
import { followLog, succeeds } from "./followed-log.ts";

const ID = "web-01";
const LINES = 15_000;
const CAP = 10_000;

interface Status {
  checks: { name: string; state: string; reason?: string }[];
  sync: { state: string; lagRows: number; lastError: string | null };
  store: {
    events: number;
    unacknowledged: Record<string, number>;
    outbox: { lost: Record<string, { cap?: number }> };
  };
}

let executable: string;
let hubHome: string;
let home: string;
let log: string;
let hub: Holdfast;
let agent: Holdfast;
let hubArgs: string[];
let api: string[];

const holdfast = (...args: string[]) => succeeds(executable, args);

beforeAll(async () => {
  executable = await buildExecutable();
  ({ hubHome, home, log, hub, hubArgs, api } = await followLog(
    executable,
    temporaryHome(),
    ID,
    `sync: { outbox: { rows: ${CAP} } }\n`,
  ));
  agent = await startAgent();
}, 240_000);

afterAll(async () => {
  await Promise.all([hub, agent].map((each) => each?.kill()));
});

function startAgent(): Promise<Holdfast> {
  const args = ["agent", "run", "--home", home, "--id", ID, "--json"];
  return startHoldfast(executable, args, { HOLDFAST__HEALTH__LISTEN: "127.0.0.1:0" });
}

async function status(): Promise<Status> {
  const { stdout } = await runHoldfast(executable, [
    ...["agent", "status", "--home", home, "--id", ID, "--json"],
  ]);
  return JSON.parse(stdout) as Status;
}

/** A script that writes lines and says how many it wrote. */
async function produce(from: number, to: number): Promise<number> {
  const script = `seq ${from} ${to} | sed 's/^/line /' | tee -a "$0" | wc -l`;
  const child = Bun.spawn(["sh", "-c", script, log], { stdout: "pipe" });
  return Number(await child.stdout.text());
}

function lostOf({ store }: Status): number {
  return Object.values(store.outbox.lost).reduce((sum, { cap = 0 }) => sum + cap, 0);
}

/** Rows by type of what one side has. */
function typesIn(file: string, sql: string): Map<string, number> {
  const database = new Database(file, { readonly: true });
  const rows = database.query(sql).all() as { type: string; rows: number }[];
  database.close();
  return new Map(rows.map(({ type, rows: count }) => [type, count]));
}

const sum = (counts: Map<string, number>) => [...counts.values()].reduce((all, each) => all + each, 0);

test("what the hub has and what it is told as lost are all the lines that were counted", async () => {
  let counted = await produce(1, 100);
  await until("the first lines are at the hub", async () => {
    const { sync, store } = await status();
    return store.events >= 100 && sync.state === "online" && sync.lagRows === 0;
  });
  expect(await hub.stop()).toBe(0);

  counted += await produce(101, LINES);
  await until("rows are given up", async () => lostOf(await status()) > 0, 120_000);
  const full = await status();
  expect(full.checks.find(({ name }) => name === "outbox")).toMatchObject({
    state: "degraded",
    reason: expect.stringContaining("sync.outbox allows"),
  });
  await agent.kill();
  agent = await startAgent();
  counted += await produce(LINES + 1, 2 * LINES);
  await until(
    "all lines are events, and no more wait than may",
    async () => {
      const { store } = await status();
      const waiting = Object.values(store.unacknowledged).reduce((all, each) => all + each, 0);
      return store.events >= counted && waiting <= CAP;
    },
    180_000,
  );

  hub = await startHoldfast(executable, hubArgs);
  await until(
    "the hub has what is left",
    async () => {
      const { sync, store } = await status();
      return sync.state === "online" && sync.lagRows === 0 && store.events >= counted;
    },
    120_000,
  );
  const lost = lostOf(await status());
  const detail = JSON.parse(await holdfast("agents", "show", ID, ...api, "--json")) as {
    lostRows: number;
    losses: { first: number; last: number; counts: Record<string, number>; reason: string; lane: string }[];
  };
  expect(await agent.stop()).toBe(0);
  expect(await hub.stop()).toBe(0);

  const here = typesIn(
    join(home, `agent-${ID}`, "data/state/agent.db"),
    "SELECT type, count(*) AS rows FROM events GROUP BY 1",
  );
  const there = typesIn(
    join(hubHome, "hub/data/hub.db"),
    "SELECT type, count(*) AS rows FROM events GROUP BY 1",
  );
  expect(here.get("log.line")).toBe(counted);
  // Of all but what the hub had at first and what may wait for it.
  expect(lost).toBeGreaterThanOrEqual(counted - CAP - 200);
  expect(detail.lostRows).toBe(lost);
  expect(detail.losses.reduce((all, { counts }) => all + counts.event!, 0)).toBe(lost);
  expect(new Set(detail.losses.map(({ reason, lane }) => `${lane} ${reason}`))).toEqual(
    new Set(["events cap"]),
  );
  // Beside the lines there are a few events of the agent's own, that rows are being lost among them.
  expect(here.get("sync.rows.lost")).toBeGreaterThan(0);
  expect(sum(there) + lost).toBe(counted + sum(here) - here.get("log.line")!);
}, 400_000);
