import { afterAll, beforeAll, expect, test } from "bun:test";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

const CONFIG = `
rules:
  - { name: watch, on: manual, type: bad, run: note }
  - { name: slow, on: manual, type: slow, run: linger }
  - { name: told, on: agent, emit: { type: heard } }
pipelines:
  note: { steps: [{ id: note, action: file, with: { path: notes.log, do: append, content: "note " } }] }
  linger:
    concurrency: 1
    steps:
      - { id: sleep, action: exec, with: { command: [/bin/sh, -c, "sleep 1"] } }
      - { id: after, needs: [sleep], action: file, with: { path: notes.log, do: append, content: "after " } }
`;

let agent: CliAgent;
beforeAll(async () => {
  agent = await cliAgent(CONFIG);
}, 90_000);
afterAll(() => agent.close());

const BY = `local:${process.getuid?.()}`;
interface Run {
  id: string;
  state: string;
  reason: string | null;
}
const runs = async (pipeline: string) =>
  (JSON.parse((await agent.cli(["runs", "list", "--json", "--pipeline", pipeline])).out) as { items: Run[] })
    .items;
const braked = async () =>
  JSON.parse((await agent.cli(["brake", "status", "--json"])).out) as { on: boolean };

/** The command line is asked again until it says so. */
async function until(what: string, asked: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await asked())) if (performance.now() > deadline) throw new Error(`in vain: ${what}`);
}

test("brake on, kill -9, started again still braked, released: the run goes on and ends", async () => {
  expect((await agent.cli(["brake", "status"])).out).toBe(
    "The brake is off: what rules and schedules start begins.\n",
  );
  await agent.cli(["events", "emit", "slow", "--subject", "s"]);
  await until("the first step", async () => (await runs("linger"))[0]?.state === "running");
  const on = await agent.cli(["brake", "on", "--reason", "disk swap"]);
  expect(on.exit).toBe(0);
  expect(on.out).toContain("The brake is on: nothing begins that no person started.");
  expect(on.out).toMatch(new RegExp(`^Set by ${BY} at .*, until it is released: disk swap$`, "m"));
  await agent.cli(["events", "emit", "bad", "--subject", "one"]);
  const why = `held back by the brake (${BY}: disk swap)`;
  await until("the rule's run", async () => (await runs("note"))[0]?.reason === why);
  // What was under way ends; the step after it waits.
  await until("the step that waits", async () => (await runs("linger"))[0]?.reason === why);
  const [lingering] = await runs("linger");
  expect((await agent.cli(["runs", "show", lingering!.id])).out).toMatch(
    / after .* queued .*held back by the brake/,
  );
  // A person's run goes on.
  expect((await agent.cli(["run", "note"])).exit).toBe(0);

  await agent.stop("SIGKILL");
  await agent.start();
  expect(await braked()).toMatchObject({
    on: true,
    by: BY,
    reason: "disk swap",
    held: { runs: 1, steps: 1 },
  });
  const status = await agent.cli(["agent", "status"]);
  expect(status.exit).toBe(0);
  expect(status.out).toContain(`check brake: degraded (${why})`);
  expect(status.out).toContain("Held back: 1 runs that have not begun, 1 steps of others.");
  const { health } = JSON.parse((await agent.cli(["agent", "status", "--json"])).out) as { health: string };
  const ready = await fetch(`${health}/readyz?verbose`);
  expect([ready.status, await ready.text()]).toEqual([200, expect.stringContaining(why)]);
  expect(await (await fetch(`${health}/metrics`)).text()).toMatch(/^holdfast_brake_on 1$/m);

  const off = await agent.cli(["brake", "off"]);
  expect(off.out).toBe("The brake is released.\n");
  expect((await agent.cli(["brake", "off"])).out).toBe("Nobody had set the brake.\n");
  await until("both to end", async () =>
    [...(await runs("note")), ...(await runs("linger"))].every(({ state }) => state === "succeeded"),
  );
  expect(await (await fetch(`${health}/metrics`)).text()).toMatch(/^holdfast_brake_on 0$/m);
  const events = JSON.parse((await agent.cli(["events", "list", "--json"])).out) as {
    items: { type: string; event: { data: object } }[];
  };
  const told = events.items.filter(({ type }) => type.startsWith("agent.brake."));
  expect(told.map(({ type, event }) => [type, event.data])).toEqual([
    ["agent.brake.off", { by: BY, reason: "disk swap" }],
    ["agent.brake.on", { by: BY, reason: "disk swap", until: null }],
  ]);
  expect(events.items.filter(({ type }) => type === "heard")).toHaveLength(2);
}, 120_000);

test("it releases itself; what is asked wrongly is told", async () => {
  await agent.cli(["brake", "on", "--for", "500ms", "--json"]);
  await until("its end", async () => !(await braked()).on);
  const wrong = await agent.cli(["brake", "on", "--for", "soon"]);
  expect([wrong.exit, wrong.err]).toEqual([2, expect.stringContaining('--for: "soon" is not a duration')]);
  const long = await agent.cli(["brake", "on", "--for", "400d"]);
  expect([long.exit, long.err]).toEqual([1, expect.stringContaining("366d at most")]);
  expect((await braked()).on).toBe(false);
}, 60_000);

test("every command's help has an example, which runs", async () => {
  for (const name of ["on", "status", "off"]) {
    const help = await agent.bare(["brake", name, "--help"]);
    const example = /^Example: holdfast (.+)$/m.exec(help.out)?.[1];
    const words = example!.match(/'[^']*'|\S+/g)!.map((word) => word.replaceAll("'", ""));
    expect((await agent.cli(words)).exit).toBe(0);
  }
}, 60_000);
