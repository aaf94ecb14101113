/** The process is killed while history is being trimmed: what is left is sound, and the counts are those of the rows. */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Fixture, fixture } from "./store-fixtures.ts";

let place: Fixture;
beforeEach(() => {
  place = fixture();
});
afterEach(() => place.end());

/** Commits events with runs that end at once, and has nearly all of it trimmed, without end. Says when each round is done. */
const TRIMMER = `
  import { openAgentStore } from "${join(import.meta.dir, "open-agent-store.ts")}";
  import { systemIds } from "${join(import.meta.dir, "../../core/ids.ts")}";
  import { commitOf, keep, numbered, sent, startOf } from "${join(import.meta.dir, "store-fixtures.ts")}";
  const [path, prefix, faults] = process.argv.slice(2);
  const retention = { sent: sent(10), events: keep(100), runs: keep(10) };
  const store = await openAgentStore({ path, ids: systemIds(), wall: Date.now, retention, faults: JSON.parse(faults) });
  for (let round = 0; ; round++) {
    const ids = numbered(prefix + "-" + round, 300);
    const ended = { state: "succeeded", endedMs: 6 };
    const runs = ids.slice(0, 30).map((id, event) => ({ event, start: startOf("run-" + id, id, ended) }));
    await store.commitEvents(commitOf(ids, { runs, checkpoint: round }));
    for (const { lane, segment, last, lastHash } of await store.streams())
      await store.acknowledge({ epoch: store.facts.epoch, lane, segment, number: last, hash: lastHash });
    await store.trim();
    process.stdout.write(ids.at(-1) + "\\n");
  }
`;

/** The last id that was told to be committed, and trimmed. */
async function killed(prefix: string, faults: object[], rounds: number): Promise<string | undefined> {
  const path = join(place.folder, "trimmer.ts");
  writeFileSync(path, TRIMMER);
  const command = [process.execPath, path, place.path, prefix, JSON.stringify(faults)];
  const trimmer = Bun.spawn(command, { stdout: "pipe" });
  let text = "";
  for await (const chunk of trimmer.stdout) {
    text += new TextDecoder().decode(chunk);
    if (text.split("\n").length > rounds) trimmer.kill("SIGKILL");
  }
  await trimmer.exited;
  expect(trimmer.signalCode).toBe("SIGKILL");
  return text.split("\n").at(-2);
}

const roundOf = (id: string) => Number(id.split("-")[1]);

async function check(last: string | undefined): Promise<void> {
  const store = await place.open();
  expect(store.facts.salvage).toBeNull();
  const { history } = await store.stats();
  const [newest] = await store.events({ limit: 1 });
  if (last !== undefined) expect(roundOf(JSON.parse(newest!.body).id)).toBeGreaterThanOrEqual(roundOf(last));
  await store.close();
  const database = new Database(place.path);
  const count = (sql: string) => (database.query(sql).get() as { count: number }).count;
  expect(database.query("PRAGMA integrity_check").all()).toEqual([{ integrity_check: "ok" }]);
  expect(history.tables.events.rows).toBe(count("SELECT count(*) AS count FROM events"));
  expect(history.tables.runs.rows).toBe(count("SELECT count(*) AS count FROM runs WHERE open = 0"));
  for (const table of ["steps", "attempts"])
    expect(count(`SELECT count(*) AS count FROM ${table} WHERE run NOT IN (SELECT n FROM runs)`)).toBe(0);
  const { events } = history.tables;
  expect(events.trimmed.count + events.rows).toBe(count("SELECT max(n) AS count FROM events"));
  database.close();
}

test("at any moment, again and again", async () => {
  for (let round = 0; round < 4; round++) await check(await killed(`k${round}`, [], 2 + 3 * round));
}, 60_000);

test.each([
  ["events.trim", "after"],
  ["runs.trim", "after"],
  ["outbox.trim", "after"],
  ["history_marks.put", "after"],
  ["meta.put", "after"],
  ["trim", "before"],
  ["trim", "after"],
])(
  "at %s (%s)",
  async (label, at) => {
    await check(
      await killed("f", [{ label, at, with: "crash", skip: label === "history_marks.put" ? 1 : 3 }], 99),
    );
  },
  20_000,
);
