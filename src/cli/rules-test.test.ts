/** `rules test` as a user types it: over the store of a real agent, which is killed and silenced in between, and with wrong input. */
import { Database } from "bun:sqlite";
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFileSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

setDefaultTimeout(120_000);

const config = (threshold: number) => `
rules:
  - name: many
    on: manual
    type: bad
    by: event.subject
    window: { over: 1h, is: window.count >= ${threshold} }
    run: note
    params: { count: "\${{ window.count }}" }
  - { name: pair, on: manual, by: event.subject, sequence: { within: 1h, steps: [{ type: bad }, { type: good }] }, run: note }
  - { name: once, on: manual, type: bad, cooldown: 1h, emit: { type: first.bad } }
  - { name: down, on: manual, type: bad, finding: { title: "\${{ event.subject }}", resolved_when: event.type == "good" } }
  - { name: told, on: "rule:down", run: note, params: { what: "\${{ event.type }}" } }
  - { name: never, on: manual, absence: { for: 1h }, run: note }
  - { name: knows, on: manual, type: bad, when: memory.limit > 3, run: note }
pipelines:
  note: { steps: [{ id: one, action: file, with: { path: notes.log, do: append, content: x } }] }
`;

const EVENTS = "bad a, bad b, good a, bad a, bad a, good b, bad b, good c, bad c, bad a".split(", ");

let agent: CliAgent;
let state = "";
beforeAll(async () => {
  agent = await cliAgent(config(3));
  state = join(agent.base, `agent-${agent.id}`, "data", "state");
  const emit = async (event: string) => {
    const [type, subject] = event.split(" ") as [string, string];
    expect((await agent.cli(["events", "emit", type, "--subject", subject])).exit).toBe(0);
  };
  for (const event of EVENTS.slice(0, 5)) await emit(event);
  await agent.stop("SIGKILL");
  await agent.start();
  for (const event of EVENTS.slice(5, 7)) await emit(event);
  const silence = ["silence", "add", "rule=told", "--for", "1h", "--comment", "enough"];
  expect((await agent.cli(silence)).exit).toBe(0);
  for (const event of EVENTS.slice(7)) await emit(event);
});
afterAll(() => agent.close());

const file = (name: string, text: string): string => {
  const path = join(agent.base, name);
  writeFileSync(path, text);
  return path;
};
const rulesTest = (...args: string[]) => agent.cli(["rules", "test", ...args]);
const lines = async (...args: string[]): Promise<any[]> => {
  const { out, exit } = await rulesTest(...args, "--json");
  expect(exit).toBe(0);
  return out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
};

describe("beside what happened", () => {
  test("the same configuration makes no difference, over kill -9, while the agent runs", async () => {
    const { out, exit } = await rulesTest("--fail-on-difference");
    expect(out).toContain("10 events: no difference");
    expect(out).toContain("the history begins at");
    expect(out).toContain("with the memory as it is now: knows");
    expect(exit).toBe(0);
    const told = await lines();
    const runs = JSON.parse((await agent.cli(["runs", "list", "--all", "--json"])).out).items;
    expect(runs.length).toBeGreaterThan(6);
    const same = told.filter(({ kind, change }) => kind === "run" && change === "same");
    expect(same.map(({ run }) => run).toSorted()).toEqual(runs.map(({ id }: any) => id).toSorted());
    expect(told.at(-1)).toMatchObject({ kind: "summary", events: 10, added: 0, removed: 0, differences: 0 });
  });

  test("a lower threshold: the runs that come to it, in the table, the lines and as JSON", async () => {
    const proposed = file("new.yaml", config(2));
    const { out, exit } = await rulesTest("--config", proposed, "--fail-on-difference");
    // The second ones of a and b; c has one only.
    expect(out).toMatch(/^\+ +\S+ +many +run note +manual bad a \w+ +\{"count":2\}$/m);
    expect(out).toMatch(/^\+ +\S+ +many +run note +manual bad b \w+ +\{"count":2\}$/m);
    expect(out).toMatch(/^many +7 +7 +4 +4 \(2\) /m);
    expect(out).toContain("10 events: 2 new (+), 0 gone (-), 0 changed (~)");
    expect(exit).toBe(1);
    const told = await lines("--config", proposed);
    expect(told[0]).toMatchObject({ kind: "start", agent: "web-01", cut: true, readMemory: ["knows"] });
    const added = told.filter(({ change }) => change === "added");
    expect(added.map(({ rule, event }) => [rule, event.subject])).toEqual([
      ["many", "a"],
      ["many", "b"],
    ]);
    expect(told.find(({ kind, rule }) => kind === "rule" && rule === "many")).toMatchObject({
      evaluated: 7,
      proposed: { runs: 4 },
      past: { runs: 2 },
      same: 2,
      added: 2,
    });
  });

  test("--rule tells of one, --limit shows fewer", async () => {
    const proposed = file("new.yaml", config(1));
    const { out } = await rulesTest("--config", proposed, "--rule", "many", "--limit", "1");
    expect(out.match(/^[+-] /gm)).toHaveLength(1);
    expect(out).toContain("… and 4 more");
    expect(out).not.toContain("told");
    const told = await lines("--rule", "down", "--rule", "told");
    expect(new Set(told.flatMap(({ rule }) => rule ?? []))).toEqual(new Set(["down", "told"]));
  });
});

describe("nothing is left behind", () => {
  test("without an agent the files are as they were, and a copy is read from anywhere", async () => {
    await agent.stop();
    const before = readdirSync(state).toSorted();
    const bytes = readFileSync(join(state, "agent.db"));
    expect((await rulesTest("--fail-on-difference")).exit).toBe(0);
    expect(readdirSync(state).toSorted()).toEqual(before);
    expect(readFileSync(join(state, "agent.db")).equals(bytes)).toBe(true);
    const copy = join(agent.base, "copy.db");
    copyFileSync(join(state, "agent.db"), copy);
    const proposed = file("new.yaml", config(2));
    const { out } = await agent.bare(["rules", "test", "--store", copy, "--config", proposed]);
    expect(out).toContain("web-01: from ");
    expect(out).toContain("10 events: 2 new (+)");
    await agent.start();
  });
});

describe("wrong input", () => {
  const said = async (...args: string[]) => {
    const { exit, err } = await rulesTest(...args);
    return [exit, err.trim()];
  };
  const cases: [
    string,
    (args: { path: (name: string, text: string) => string }) => string[],
    number,
    string,
  ][] = [
    [
      "broken yaml",
      ({ path }) => ["--config", path("broken.yaml", "rules: [\n - {name: x")],
      1,
      "broken.yaml:2:",
    ],
    [
      "an unknown zone",
      ({ path }) => [
        "--config",
        path("zone.yaml", "schedules: [{ name: s, cron: '0 3 * * *', time_zone: Europe/Brelin }]"),
      ],
      1,
      'did you mean "Europe/Berlin"?',
    ],
    [
      "a bad condition",
      ({ path }) => ["--config", path("cel.yaml", config(1).replace(">= 1", ">= "))],
      1,
      "cel.yaml:",
    ],
    ["no such file", () => ["--config", "/nonexistent/new.yaml"], 3, "/nonexistent/new.yaml"],
    ["since in the future", () => ["--since", "2999-01-01T00:00:00Z"], 2, "is in the future"],
    ["since after until", () => ["--since", "1h", "--until", "2h"], 2, "is not before --until 2h"],
    ["no time", () => ["--since", "yesterday"], 2, 'not "yesterday"'],
    ["an unknown rule", () => ["--rule", "mny"], 3, 'did you mean "many"?'],
    ["a limit that is none", () => ["--limit", "all"], 2, "--limit must be a whole number"],
    ["an unknown flag", () => ["--sinc", "1h"], 2, "did you mean --since?"],
    ["a store that is not there", () => ["--store", "/nonexistent/agent.db"], 3, "there is no store"],
    ["a folder", () => ["--store", "/"], 1, "it is no file"],
    ["an empty file", ({ path }) => ["--store", path("empty.db", "")], 1, "it is empty"],
    ["a text", ({ path }) => ["--store", path("text.db", "x".repeat(5000))], 1, "is not a database"],
  ];
  test.each(cases)("%s", async (_name, args, exit, text) => {
    expect(await said(...args({ path: file }))).toEqual([exit, expect.stringContaining(text)]);
  });

  test("another program's database, a newer schema, an empty and a damaged store", async () => {
    const other = join(agent.base, "other.db");
    const database = new Database(other);
    database.run("CREATE TABLE t (x)");
    database.close();
    expect(await said("--store", other)).toEqual([1, expect.stringContaining("not an agent's store")]);
    await agent.stop();
    const copy = (name: string, change: (database: Database) => void): string => {
      const path = join(agent.base, name);
      copyFileSync(join(state, "agent.db"), path);
      const opened = new Database(path);
      opened.run("PRAGMA journal_mode = DELETE");
      change(opened);
      opened.close();
      return path;
    };
    const newer = copy("newer.db", (opened) => opened.run("PRAGMA user_version = 4711"));
    expect(await said("--store", newer)).toEqual([1, expect.stringContaining("has schema version 4711")]);
    const older = copy("older.db", (opened) => opened.run("PRAGMA user_version = 1"));
    expect(await said("--store", older)).toEqual([1, expect.stringContaining("of an older release")]);
    const empty = copy("none.db", (opened) => opened.run("DELETE FROM events"));
    const { exit, out } = await rulesTest("--store", empty, "--fail-on-difference");
    expect([exit, out]).toEqual([
      0,
      expect.stringContaining("no event since 7d: there is nothing to look at"),
    ]);
    const damaged = copy("damaged.db", () => {});
    truncateSync(damaged, 16_384);
    const { exit: failed, err } = await rulesTest("--store", damaged);
    expect([failed, err]).toEqual([1, expect.stringContaining(`${damaged}: `)]);
    await agent.start();
  });

  test("no home", async () => {
    const nowhere = join(agent.base, "nowhere");
    mkdirSync(nowhere);
    const { exit, err } = await agent.bare(["rules", "test", "--home", nowhere]);
    expect([exit, err]).toEqual([3, expect.stringContaining("name its folder with --home DIR")]);
  });
});
