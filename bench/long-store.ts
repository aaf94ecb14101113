/** A store with a month behind it, made in a minute: rows as the agent writes them, without asking the disk each time. */
import { Database } from "bun:sqlite";
import { closeSync, fsyncSync, openSync, statSync } from "node:fs";
import { openAgentStore } from "../src/agent/store/open-agent-store.ts";
import { systemIds } from "../src/core/ids.ts";
import { DATA } from "./raw-sqlite.ts";

export const SOURCE = "urn:holdfast:agent:web-01/app";
const TYPE = "log.line";
const A_STATEMENT = 100;
const A_TRANSACTION = 100_000;
const COLUMNS = 5;
/** Ten events a second. */
const EVERY_MS = 100;

export interface Filled {
  seconds: number;
  bytes: number;
}

/** `rows` events, ten a second until now. The index over their identities is made at the end, which is a lot faster. */
export async function fillStore(path: string, rows: number): Promise<Filled> {
  const from = performance.now();
  await (await openAgentStore({ path, ids: systemIds(), wall: Date.now })).close();
  const database = new Database(path);
  database.run("PRAGMA journal_mode = OFF");
  database.run("PRAGMA synchronous = OFF");
  database.run("PRAGMA cache_size = -200000");
  database.query("INSERT INTO sources (n, name) VALUES (1, ?)").run(SOURCE);
  const { sql } = database.query("SELECT sql FROM sqlite_schema WHERE name = 'events_identity'").get() as {
    sql: string;
  };
  database.run("DROP INDEX events_identity");
  insert(database, rows);
  database.run(sql);
  database.close();
  settle(path);
  return { seconds: (performance.now() - from) / 1000, bytes: statSync(path).size };
}

/** What the kernel still has to write would else be measured. */
function settle(path: string): void {
  const file = openSync(path, "r+");
  fsyncSync(file);
  closeSync(file);
}

function insert(database: Database, rows: number): void {
  const tuples = Array(A_STATEMENT).fill(`(?, 1, ?, '${TYPE}', ?, ?, ?)`).join(", ");
  const statement = database.prepare(
    `INSERT INTO events (n, source, id, type, time_ms, recorded_ms, body) VALUES ${tuples}`,
  );
  const began = Date.now() - rows * EVERY_MS;
  const params: (string | number)[] = new Array(A_STATEMENT * COLUMNS);
  database.run("BEGIN");
  for (let n = 1; n <= rows; n += A_STATEMENT) {
    for (let i = 0; i < A_STATEMENT; i++) fillRow(params, i * COLUMNS, n + i, began + (n + i) * EVERY_MS);
    statement.run(...params);
    if ((n - 1) % A_TRANSACTION === 0) database.run("COMMIT; BEGIN");
  }
  database.run("COMMIT");
  statement.finalize();
}

function fillRow(params: (string | number)[], at: number, n: number, timeMs: number): void {
  const time = new Date(timeMs).toISOString();
  params[at] = n;
  params[at + 1] = Bun.randomUUIDv7("hex", timeMs);
  params[at + 2] = timeMs;
  params[at + 3] = timeMs;
  params[at + 4] = `,"time":"${time}","data":{"line":"${DATA}"}}`;
}
