import { Database } from "bun:sqlite";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";
import { until } from "../testing/until.ts";

const CONFIG = `
rules:
  - { name: note it, on: manual, type: noted, run: note }
pipelines:
  note: { steps: [{ id: note, action: file, with: { path: notes.log, do: append, content: "note " } }] }
`;

let agent: CliAgent;
beforeAll(async () => {
  agent = await cliAgent(CONFIG);
  for (let i = 0; i < 3; i++) await agent.cli(["events", "emit", "noted"]);
  await until("the runs to end", () => succeeded() === 3, 60_000);
}, 120_000);
afterAll(() => agent.close());

const store = () => join(agent.base, "agent-web-01", "data", "state", "agent.db");

function succeeded(): number {
  const database = new Database(store(), { readonly: true });
  const { n } = database.query("SELECT count(*) AS n FROM runs WHERE state = 'succeeded'").get() as {
    n: number;
  };
  database.close();
  return n;
}

test("an agent of its own is whole, with what each stream holds by class", async () => {
  const { exit, out, err } = await agent.cli(["verify"]);
  expect([exit, err]).toEqual([0, ""]);
  expect(out).toMatch(/^web-01 {2}[0-9a-f]{12} {2}results\/1 {2}1 to \d+: \d+ run, \d+ step {2}ok$/m);
  expect(out).toMatch(/^web-01 {2}[0-9a-f]{12} {2}events\/1 {2}1 to \d+: \d+ event {2}ok$/m);
  expect(out).toMatch(/^agent web-01: 2 streams, \d+ rows: whole\n$/m);
}, 60_000);

test("its help has an example, which runs", async () => {
  const help = await agent.bare(["verify", "--help"]);
  const example = /^Example: holdfast (.+)$/m.exec(help.out)?.[1];
  expect((await agent.bare([...example!.split(" "), "--home", agent.base])).exit).toBe(0);
}, 60_000);

test("an export is for its owner alone, and says the same; one that is there is left as it is", async () => {
  const file = join(agent.base, "proof.jsonl");
  const made = await agent.cli(["verify", "--export", file, "--json"]);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const read = await agent.bare(["verify", "--file", file, "--json"]);
  expect([made.exit, read.exit]).toEqual([0, 0]);
  expect(read.out).toBe(made.out);
  const again = await agent.cli(["verify", "--export", file]);
  expect([again.exit, again.err]).toEqual([1, expect.stringContaining("proof.jsonl exists already")]);
}, 60_000);

test("what is wrong is told, in words, and the export that shows it is written all the same", async () => {
  await agent.stop();
  const database = new Database(store());
  database.run("UPDATE outbox SET hash = zeroblob(32) WHERE lane = 2 AND number = 2");
  database.close();
  const file = join(agent.base, "wrong.jsonl");
  const { exit, out } = await agent.cli(["verify", "--export", file]);
  expect(exit).toBe(1);
  expect(out).toContain(
    "events/1  1 to 1: 3 event  NOT WHOLE\n  altered from 2: row 2 is altered: its bytes are not those",
  );
  expect(out).toMatch(/: NOT WHOLE\n$/);
  expect((await agent.bare(["verify", "--file", file])).exit).toBe(1);
}, 60_000);

test("a store that writes in an epoch that is not its newest is told", async () => {
  const database = new Database(store());
  database.run("INSERT INTO epochs (epoch, reason, began_ms) VALUES ('later', 'a test', 1)");
  database.close();
  const { exit, out } = await agent.cli(["verify"]);
  expect([exit, out]).toEqual([1, expect.stringContaining("the newest that it has begun is later")]);
}, 60_000);

test("a store that is no store is refused, and nothing is left beside an export that failed", async () => {
  await Bun.write(store(), "this was a database once, and nobody knows what became of it");
  const { exit, err } = await agent.cli(["verify", "--export", join(agent.base, "none.jsonl")]);
  expect([exit, err]).toEqual([1, expect.stringContaining("agent.db")]);
  expect(existsSync(join(agent.base, "none.jsonl"))).toBe(false);
  expect(readdirSync(agent.base).filter((name) => name.includes(".new-"))).toEqual([]);
}, 60_000);
