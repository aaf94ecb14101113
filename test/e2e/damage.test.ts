/** What the compiled agent does with a store that is damaged or too new, and with a step whose outcome it cannot know. */
import { Database } from "bun:sqlite";
import { beforeAll, describe, expect, test } from "bun:test";
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
  buildExecutable,
  type Holdfast,
  runHoldfast,
  startHoldfast,
  temporaryHome,
  until,
} from "./harness.ts";

const ID = "web-01";
let executable: string;

beforeAll(async () => {
  executable = await buildExecutable();
}, 240_000);

interface Home {
  base: string;
  root: string;
  database: string;
  log: string;
}

function home(config: string): Home {
  const base = temporaryHome();
  const root = join(base, `agent-${ID}`);
  mkdirSync(join(root, "config"), { recursive: true });
  writeFileSync(join(root, "config", "agent.yaml"), config);
  const log = join(root, "app.log");
  writeFileSync(log, "");
  return { base, root, database: join(root, "data", "state", "agent.db"), log };
}

const run = ({ base }: Home) =>
  startHoldfast(executable, [
    "agent",
    "run",
    "--home",
    base,
    "--id",
    ID,
    "--health-listen",
    "127.0.0.1:0",
    "--json",
  ]);
const get = async (agent: Holdfast, path: string) =>
  await (await fetch(`${agent.ready.health}${path}`)).text();
const kept = async (agent: Holdfast) =>
  Number(/^holdfast_agent_events_total (\d+)$/m.exec(await get(agent, "/metrics"))![1]);

const TAIL = "triggers:\n  - { name: app, plugin: file-tail, with: { path: app.log, from: start } }\n";

async function withEvents(): Promise<Home> {
  const place = home(TAIL);
  const agent = await run(place);
  appendFileSync(place.log, "line\n".repeat(500));
  await until("500 events are kept", async () => (await kept(agent)) === 500);
  expect(await agent.stop()).toBe(0);
  return place;
}

describe("a damaged store", () => {
  test.each(["cut", "overwritten"] as const)(
    "that was %s is set aside and named, and the agent goes on",
    async (how) => {
      const place = await withEvents();
      if (how === "cut") truncateSync(place.database, 20_000);
      else writeFileSync(place.database, Buffer.alloc(60_000, "not a database "));
      const agent = await run(place);
      const aside = readdirSync(join(place.root, "data", "state")).find((name) =>
        /^agent\.db\.corrupt-\d{8}T\d{6}Z$/.test(name),
      );
      expect(aside).toBeString();
      const ready = await fetch(`${agent.ready.health}/readyz?verbose`);
      expect([ready.status, await ready.text()]).toEqual([
        200,
        expect.stringMatching(new RegExp(`\\[~\\]store degraded: .*${aside}`)),
      ]);
      // Triggers start from now, although the configuration says `start`: the lines before are not told again.
      await until("a new line and the gap are kept", async () => {
        appendFileSync(place.log, "more\n");
        return (await kept(agent)) >= 2;
      });
      const events = await runHoldfast(executable, ["events", "list", "--home", place.base, "--json"]);
      const told: { type: string; event: { data: { line?: string } } }[] = JSON.parse(events.stdout).items;
      expect(told.filter(({ type }) => type === "trigger.gap")).toHaveLength(1);
      expect(new Set(told.map(({ event }) => event.data.line))).toEqual(new Set([undefined, "more"]));
      expect(await agent.stop()).toBe(0);
    },
  );

  test("a store of a newer version is refused and left as it was", async () => {
    const place = await withEvents();
    const db = new Database(place.database);
    db.run("PRAGMA user_version = 999");
    db.close();
    const refused = await runHoldfast(executable, ["agent", "run", "--home", place.base, "--id", ID]);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain("999");
    expect(refused.stderr).not.toContain("    at ");
    const after = new Database(place.database, { readonly: true });
    expect(after.query("SELECT count(*) AS n FROM events").get()).toEqual({ n: 500 });
    expect(after.query("PRAGMA user_version").get()).toEqual({ user_version: 999 });
    after.close();
    expect(readdirSync(join(place.root, "data", "state")).some((name) => name.includes("corrupt"))).toBe(
      false,
    );
  });
});

test("a step with effect ask waits after kill -9 for a person, who may let it run again", async () => {
  const place = home(
    `${TAIL}rules:\n  - { name: all, on: app, run: react }\npipelines:\n  react:\n    steps:\n` +
      "      - { id: note, action: exec, with: { command: note.sh, write: [journal] }, effect: ask }\n",
  );
  const journal = join(place.root, "journal");
  writeFileSync(journal, "");
  const script = join(place.root, "note.sh");
  writeFileSync(script, `#!/bin/sh\necho begun >> ${journal}\n[ -e ${place.root}/go ] || sleep 30\n`);
  chmodSync(script, 0o755);
  const first = await run(place);
  appendFileSync(place.log, "line\n");
  await until("the script begins", () => readFileSync(journal, "utf8") === "begun\n");
  await first.kill();
  const second = await run(place);
  const status = async () => {
    const told = await runHoldfast(executable, ["agent", "status", "--home", place.base, "--json"]);
    return JSON.parse(told.stdout) as { asking: { run: string; step: string }[]; runs: { open: number } };
  };
  const [ask] = (await status()).asking;
  expect(ask).toMatchObject({ step: "note" });
  expect(readFileSync(journal, "utf8")).toBe("begun\n");
  const wrong = await runHoldfast(executable, [
    "runs",
    "approve",
    ask!.run,
    "--step",
    "nope",
    "--home",
    place.base,
  ]);
  expect(wrong.exitCode).toBe(3);
  writeFileSync(join(place.root, "go"), "");
  const approved = await runHoldfast(executable, [
    "runs",
    "approve",
    ask!.run,
    "--step",
    "note",
    "--home",
    place.base,
  ]);
  expect(approved).toMatchObject({ exitCode: 0, stderr: "" });
  await until("the run has ended", async () => (await status()).runs.open === 0);
  expect(readFileSync(journal, "utf8")).toBe("begun\nbegun\n");
  expect(await second.stop()).toBe(0);
});
