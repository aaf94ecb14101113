import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

const CONFIG = `
agent: { labels: { site: berlin } }
rules:
  - name: front is down
    on: manual
    type: down
    by: event.subject
    run: note
    emit: { type: front.down }
    finding: { title: "\${{ event.subject }} is down", severity: error, resolved_when: event.type == "up" }
pipelines:
  note: { steps: [{ id: note, action: file, with: { path: notes.log, do: append, content: "note " } }] }
outputs:
  - { name: people, plugin: file, match: 'event.type.startsWith("f")', with: { path: people.jsonl } }
  - { name: archive, plugin: file, silenced: true, match: 'event.type.startsWith("f")', with: { path: archive.jsonl } }
maintenance:
  - { name: long ago, from: 2020-01-01T00:00:00Z, until: 2020-01-02T00:00:00Z, match: { rule: "*" } }
  - { name: nightly, schedule: "0 2 * * *", for: 1s, match: { rule: "nobody*" }, mute: [runs] }
`.replace("long ago", "long-ago");

let agent: CliAgent;
beforeAll(async () => {
  agent = await cliAgent(CONFIG);
}, 90_000);
afterAll(() => agent.close());

interface Shown {
  id: string;
  state: string;
  counts: { runs: number; findings: number; events: number };
}
const json = async <T>(...words: string[]) => JSON.parse((await agent.cli([...words, "--json"])).out) as T;
const items = async <T>(...words: string[]) => (await json<{ items: T[] }>(...words)).items;
const emit = (type: string, subject = "s-1") => agent.cli(["events", "emit", type, "--subject", subject]);
const written = (name: string) => {
  try {
    const path = join(agent.base, "agent-web-01", name);
    return readFileSync(path, "utf8")
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { type: string }).type);
  } catch {
    return [];
  }
};

/** The command line is asked again until it says so. */
async function until(what: string, asked: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await asked())) if (performance.now() > deadline) throw new Error(`in vain: ${what}`);
}

test("a silence keeps a rule from runs, events and telling; what it counts is shown; after it a finding is told anew", async () => {
  const added = await agent.cli([
    "silence",
    "add",
    "rule=front*",
    "label.site=ber*",
    "--for",
    "2h",
    "--comment",
    "why",
  ]);
  expect([added.exit, added.err]).toEqual([0, ""]);
  expect(added.out).toMatch(/^Silence [0-9a-f]{8} holds until .*\(in 1h\)\.$/m);
  await emit("down");
  await emit("down");
  const [silence] = await items<Shown>("silence", "list");
  expect(silence).toMatchObject({ state: "active", counts: { runs: 2, findings: 2, events: 2 } });
  expect(await items("runs", "list")).toEqual([]);
  const [rule] = await items<{ counters: object; fired: number }>("rules", "list");
  expect(rule).toMatchObject({ fired: 2, counters: { silenced: 4 } });
  expect((await agent.cli(["rules", "list"])).out).toMatch(/SILENCED[^]* 4 /);
  const [finding] = await items<object>("finding", "list");
  expect(finding).toMatchObject({ count: 2, silencedBy: silence!.id, state: "open" });
  const events = await items<{ type: string; event: { silenced?: string } }>("events", "list");
  expect(events.filter(({ type }) => type === "front.down")).toEqual([]);
  expect(events.find(({ type }) => type === "finding.opened")?.event.silenced).toBe(silence!.id);
  await until("the archive", async () => written("archive.jsonl").length === 1);

  // Over a restart it holds, and what it counts is kept.
  await agent.stop();
  await agent.start();
  expect((await items<Shown>("silence", "list"))[0]).toMatchObject({ counts: { runs: 2 } });
  const { health: before } = await json<{ health: string }>("agent", "status");
  expect(await (await fetch(`${before}/metrics`)).text()).toContain(
    `holdfast_agent_silence_held_back{silence="${silence!.id}",what="runs"} 2`,
  );
  const status = await agent.cli(["agent", "status"]);
  expect(status.out).toContain("silences: 1 hold; holdfast silence list");

  const shown = await agent.cli(["silence", "show", silence!.id.slice(0, 5)]);
  expect(shown.out).toMatch(/^Match: +rule=front\* label\.site=ber\*$/m);
  expect(shown.out).toMatch(/^Held back: *2 runs, 2 findings, 2 events$/m);
  expect((await agent.cli(["silence", "end", silence!.id])).out).toBe(`Silence ${silence!.id} is over.\n`);
  const again = await agent.cli(["silence", "end", silence!.id]);
  expect([again.exit !== 0, again.err]).toEqual([true, expect.stringContaining("is over already")]);
  await emit("down");
  await until("people to be told", async () => written("people.jsonl").length === 2);
  expect(written("people.jsonl").toSorted()).toEqual(["finding.opened", "front.down"]);
  expect((await items<object>("finding", "list"))[0]).toMatchObject({ count: 3, silencedBy: null });
  expect((await items("runs", "list")).length).toBe(1);
  const { health } = await json<{ health: string }>("agent", "status");
  const metrics = await (await fetch(`${health}/metrics`)).text();
  expect(metrics).toMatch(/^holdfast_agent_silences 0$/m);
  expect(metrics).toMatch(/outcome="silenced"\} 0$/m);
}, 120_000);

test("maintenance windows are in the list; they are not for people to end", async () => {
  expect((await agent.cli(["silence", "list"])).err).toContain("nothing is silenced");
  const all = await items<Shown & { nextAt: string | null }>("silence", "list", "--all");
  expect(all.slice(0, 2).map(({ id, state, nextAt }) => [id, state, nextAt === null])).toEqual([
    ["maintenance:long-ago", "closed", true],
    ["maintenance:nightly", "closed", false],
  ]);
  expect((await agent.cli(["silence", "list", "--all"])).out).toMatch(
    /^maintenance:nightly +closed .* opens in /m,
  );
  expect((await agent.cli(["silence", "show", "maintenance:nightly"])).out).toMatch(/^Opens: /m);
  const ended = await agent.cli(["silence", "end", "maintenance:nightly"]);
  expect([ended.exit !== 0, ended.err]).toEqual([true, expect.stringContaining("is of the configuration")]);
}, 60_000);

test("what is asked wrongly is told", async () => {
  const add = async (...words: string[]) => {
    const { exit, err } = await agent.cli(["silence", "add", ...words]);
    return `${exit} ${err}`;
  };
  const rest = ["--for", "1h", "--comment", "c"];
  expect(await add("front*", ...rest)).toContain(
    '2 holdfast: "front*" is no match: write it like rule=front*',
  );
  expect(await add("rul=x", ...rest)).toContain("did you mean rule?");
  expect(await add("rule=x", "--for", "soon", "--comment", "c")).toContain('2 holdfast: --for: "soon"');
  expect(await add("rule=x", "--comment", "c")).toContain("2 holdfast: a silence has an end");
  expect(await add("rule=x", "--for", "1h")).toContain("2 holdfast: say why");
  expect(await add("rule=x", "--mute", "all", ...rest)).toContain(
    '--mute: "all" is none of runs, findings, events',
  );
  expect(await add("rule=x", "--for", "400d", "--comment", "c")).toContain("366d at most");
  expect(await add("rule=x", "--until", "2020-01-01T00:00:00Z", "--comment", "c")).toContain(
    "has passed already",
  );
  expect(await add("rule=x", "--until", "tomorrow", "--comment", "c")).toContain('"tomorrow" is no time');
  expect(await add("rule=front is dow", ...rest)).toContain("did you mean front is down?");
  expect((await agent.cli(["silence", "show", "zzzz"])).exit).toBe(3);
}, 60_000);

test("every command's help has an example, which runs", async () => {
  for (const name of ["add", "list", "show", "end"]) {
    const help = await agent.bare(["silence", name, "--help"]);
    const example = /^Example: holdfast (.+)$/m.exec(help.out)?.[1];
    const words = example!.match(/'[^']*'|\S+/g)!.map((word) => word.replaceAll("'", ""));
    // The id of the example is not this agent's.
    expect((await agent.cli(words)).exit).toBe(example!.includes("3f9a12bc") ? 3 : 0);
  }
}, 60_000);
