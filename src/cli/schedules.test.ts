import { afterAll, beforeAll, expect, test } from "bun:test";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

const CONFIG = `
schedules:
  - { name: tick, cron: "* * * * * *", run: note }
  - { name: nightly, cron: "30 2 * * *", time_zone: Europe/Berlin, missed: once }
  - { name: start, on: init, run: note }
  - { name: "off", every: 1h, enabled: false }
rules:
  - { name: r, on: schedule:start, emit: { type: seen } }
pipelines:
  note: { steps: [{ id: note, action: file, with: { path: due.log, do: append, content: "\${{ event.subject }} " } }] }
`;

let agent: CliAgent;
beforeAll(async () => {
  agent = await cliAgent(CONFIG);
}, 90_000);
afterAll(() => agent.close());

const listed = async () => {
  const { out } = await agent.cli(["schedules", "list", "--json"]);
  const { items } = JSON.parse(out) as { items: { name: string; state: string; fired: number }[] };
  return Object.fromEntries(items.map((item) => [item.name, item]));
};
const runs = async () =>
  (
    JSON.parse((await agent.cli(["runs", "list", "--json", "--limit", "200"])).out) as {
      items: { starter: { by: string } }[];
    }
  ).items;

/** The command line is asked again until it says so. */
async function until(what: string, asked: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await asked())) if (performance.now() > deadline) throw new Error(`in vain: ${what}`);
}

test("what is due runs, and the list says so", async () => {
  await until("tick to fire", async () => (await listed()).tick!.fired >= 2);
  expect((await listed()).start).toMatchObject({ state: "ended", fired: 1 });
  expect((await runs()).filter(({ starter }) => starter.by === "start")).toHaveLength(1);
  const { out, exit } = await agent.cli(["schedules", "list"]);
  expect(exit).toBe(0);
  expect(out).toMatch(/^nightly +active +30 2 \* \* \* +Europe\/Berlin +- +in \d+/m);
  expect(out).toMatch(/^off +disabled +@every 1h/m);
  const events = await agent.cli(["events", "list", "--type", "seen", "--json"]);
  expect((JSON.parse(events.out) as { items: unknown[] }).items).toHaveLength(1);
  expect((await agent.cli(["agent", "status"])).out).toMatch(/^schedules active: 2$/m);
  const { health } = JSON.parse((await agent.cli(["agent", "status", "--json"])).out) as { health: string };
  const metrics = await (await fetch(`${health}/metrics`)).text();
  expect(metrics).toMatch(/^holdfast_agent_schedules\{state="active"\} 2$/m);
  expect(metrics).toMatch(/^holdfast_agent_schedules_fired_total [1-9]/m);
  expect(metrics).toMatch(/^holdfast_agent_later_runs 0$/m);
}, 60_000);

test("the coming times are told in the host's time and in UTC", async () => {
  const { out } = await agent.cli(["schedules", "next", "nightly", "--limit", "2"]);
  expect(out.trim().split("\n")).toHaveLength(2);
  expect(out).toMatch(/^\d{4}-\d\d-\d\dT0\d:30:00 {2}\d{4}-\d\d-\d\dT0\d:30:00\.000Z {2}in \d/);
  const year = await agent.cli(["schedules", "next", "nightly", "--limit", "366"]);
  expect(year.out).toMatch(/the clocks are put forward over it: it comes right after/);
  expect(year.out).toMatch(/the clocks show it twice: it comes the first time/);
  expect((await agent.cli(["schedules", "next", "nightly", "--limit", "0"])).exit).not.toBe(0);
}, 30_000);

test("a pause holds over a restart of the agent, until it is resumed", async () => {
  const paused = await agent.cli(["schedules", "pause", "tick"]);
  expect(paused.out).toBe("Schedule tick is paused.\n");
  expect((await agent.cli(["schedules", "pause", "tick"])).out).toBe("Schedule tick is paused already.\n");
  await agent.stop("SIGKILL");
  await agent.start();
  expect((await listed()).tick!.state).toBe("paused");
  const { fired } = (await listed()).tick!;
  const uid = process.getuid?.();
  expect((await agent.cli(["schedules", "list"])).out).toMatch(
    new RegExp(`^tick +paused .*paused by local:${uid} at `, "m"),
  );
  expect((await agent.cli(["schedules", "resume", "tick"])).out).toBe("Schedule tick is active.\n");
  await until("tick to fire again", async () => (await listed()).tick!.fired > fired);
  expect((await runs()).filter(({ starter }) => starter.by === "start")).toHaveLength(2);
}, 120_000);

test("a name that is not there, and one that does not run", async () => {
  const unknown = await agent.cli(["schedules", "pause", "nigthly"]);
  expect(unknown.exit).toBe(3);
  expect(unknown.err).toContain("did you mean nightly?");
  const off = await agent.cli(["schedules", "pause", "off"]);
  expect(off.exit).toBe(1);
  expect(off.err).toContain("disabled in the configuration");
}, 30_000);
