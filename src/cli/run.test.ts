import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";
import { until } from "../testing/until.ts";

const CONFIG = `
pipelines:
  quick: { steps: [{ id: say, action: exec, with: { command: say.sh }, effect: idempotent }] }
  greet:
    params:
      who: { description: Name of somebody, pattern: "[a-z]+" }
      count: { type: int, default: 1 }
    steps:
      - { id: say, action: exec, effect: idempotent, with: { command: say.sh, input: { who: "\${{ params.who }}", n: "\${{ params.count }}" } } }
  broken:
    steps:
      - { id: first, action: exec, effect: idempotent, with: { command: say.sh } }
      - { id: second, needs: [first], action: exec, effect: idempotent, with: { command: fail.sh } }
    finally: [{ id: close, action: exec, effect: idempotent, with: { command: say.sh } }]
  gate: { steps: [{ id: ask, approval: { text: Is it safe?, strict: false } }] }
  strict: { steps: [{ id: ask, approval: { text: Is it safe? } }] }
  late: { deadline: 300ms, steps: [{ id: ask, approval: { text: Is it safe? } }] }
`;
const SCRIPTS = {
  "say.sh": 'echo "hello $HOLDFAST_INPUT_WHO $HOLDFAST_INPUT_N"',
  "fail.sh": "echo before; echo wrong >&2; exit 3",
};

let agent: CliAgent;
beforeAll(async () => {
  agent = await cliAgent(CONFIG, SCRIPTS);
}, 90_000);
afterAll(() => agent.close());

async function openRun(pipeline: string): Promise<string> {
  const { out } = await agent.cli(["run", pipeline, "--no-wait", "--json"]);
  return (JSON.parse(out) as { id: string }).id;
}

describe("a run that is followed", () => {
  test("tells its start, its steps and its end", async () => {
    const { out, err, exit } = await agent.cli(["run", "quick"]);
    const uid = process.getuid?.();
    expect(err).toBe("");
    expect(out).toMatch(
      new RegExp(`^Starting run \\d+ of pipeline quick \\([0-9a-f-]{36}\\), requested by local:${uid}$`, "m"),
    );
    expect(out).toMatch(/^ {2}step say: succeeded in \d+/m);
    expect(out).toMatch(
      /^Finished run \d+ of pipeline quick \(.*\), final step say, status succeeded in \d/m,
    );
    expect(exit).toBe(0);
  }, 30_000);

  test("fails with exit code 1, names the step and why, and its finally step has run", async () => {
    const { out, exit } = await agent.cli(["run", "broken"]);
    expect(out).toMatch(/^ {2}step second: failed in .*exit code 3/m);
    expect(out).toMatch(/^ {2}step close: succeeded/m);
    expect(out).toMatch(/^Finished run .*status failed in .*: .*second.*/m);
    expect(exit).toBe(1);
  }, 30_000);

  test("with --json is one document, the run as it ended", async () => {
    const { out, err, exit } = await agent.cli(["run", "greet", "who=anna", "--json"]);
    const run = JSON.parse(out);
    expect(run).toMatchObject({ pipeline: "greet", state: "succeeded", starter: { kind: "manual" } });
    expect(run.steps[0].output.stdout).toBe("hello anna 1\n");
    expect([err, exit]).toEqual(["", 0]);
  }, 30_000);

  test("denied is exit code 4, with the command that answers", async () => {
    const child = agent.begin(["run", "gate"]);
    await until("the question", () => child.out().includes("waits for approval: Is it safe?"), 20_000);
    const id = /runs approve\|deny (\S+) --step 'ask'/.exec(child.out())![1]!;
    const denied = await agent.cli(["runs", "deny", id, "--note", "not today"]);
    expect(denied).toMatchObject({ exit: 0, out: "Step ask is denied.\n" });
    expect(await child.exited).toBe(4);
    expect(child.out()).toContain("not today");
  }, 30_000);

  test("approved goes on; who started it may not where that is strict", async () => {
    const child = agent.begin(["run", "gate"]);
    await until("the question", () => child.out().includes("runs approve"), 20_000);
    const id = /runs approve\|deny (\S+)/.exec(child.out())![1]!;
    expect((await agent.cli(["runs", "approve", id])).out).toBe("Step ask is approved.\n");
    expect(await child.exited).toBe(0);
    const strict = await openRun("strict");
    const refused = await agent.cli(["runs", "approve", strict]);
    expect(refused.exit).toBe(4);
    expect(refused.err).toContain("approve");
    if (process.getuid?.() !== 0) return;
    // Somebody else behind sudo is somebody else.
    expect((await agent.cli(["runs", "approve", strict], { SUDO_UID: "4321" })).exit).toBe(0);
    const shown = JSON.parse((await agent.cli(["runs", "show", strict, "--json"])).out);
    expect(shown.steps[0].approval.by).toBe("local:4321");
  }, 60_000);

  test("out of time is exit code 6: the run's own deadline, or --timeout, after which the run goes on", async () => {
    expect((await agent.cli(["run", "late"])).exit).toBe(6);
    const { exit, err } = await agent.cli(["run", "gate", "--timeout", "200ms"]);
    expect(exit).toBe(6);
    const id = /holdfast runs show (\S+),/.exec(err)![1]!;
    expect((await agent.cli(["runs", "cancel", id])).exit).toBe(0);
  }, 60_000);
});

describe("parameters", () => {
  test("are checked before anything starts, every problem at once", async () => {
    const before = JSON.parse((await agent.cli(["runs", "list", "--all", "--json"])).out).items.length;
    const cases: [string[], RegExp][] = [
      [["run", "greet"], /too few .*1 required but 0 given/i],
      [["run", "greet", "who=Anna1"], /'Anna1' doesn't match the pattern for parameter 'who': \[a-z\]\+/],
      [["run", "greet", "who=anna", "cuont=2"], /cuont.*count/],
      [["run", "greet", "who=anna", "count=two"], /count/],
      [["run", "greet", "anna"], /name=value/],
      [["run", "greet", "who=Anna1", "count=two"], /who[\s\S]*count|count[\s\S]*who/],
    ];
    for (const [args, message] of cases) {
      const { exit, err, out } = await agent.cli(args);
      expect(err).toMatch(message);
      expect([args, exit, out]).toEqual([args, 2, ""]);
    }
    expect(JSON.parse((await agent.cli(["runs", "list", "--all", "--json"])).out).items).toHaveLength(before);
  }, 60_000);

  test("come from a file as well, and words go before it", async () => {
    const file = join(agent.base, "input.yaml");
    writeFileSync(file, "who: berta\ncount: 3\n");
    const { out } = await agent.cli(["run", "greet", "count=4", "--input", file, "--json"]);
    expect(JSON.parse(out).params).toEqual({ who: "berta", count: 4 });
    const missing = await agent.cli(["run", "greet", "--input", join(agent.base, "nothing.yaml")]);
    expect([missing.exit, missing.err]).toEqual([2, expect.stringContaining("nothing.yaml")]);
  }, 30_000);

  test("that are missing are asked for on a terminal, twice at most", async () => {
    const asked = await agent.onTerminal(["run", "greet"], ["Anna1", "anna"]);
    expect(asked.out).toContain("What is the value for 'who' (Name of somebody)?");
    expect(asked.out).toContain("doesn't match the pattern");
    expect(asked.out).toMatch(/Finished run .* status succeeded/);
    expect(asked.exit).toBe(0);
    const wrong = await agent.onTerminal(["run", "greet"], ["Anna1", "Anna2"]);
    expect(wrong.out).toContain("(giving up)");
    expect(wrong.out).not.toContain("Starting run");
    expect(wrong.exit).toBe(2);
  }, 60_000);
});

test("a pipeline that there is not is told with the nearest one; a wrong flag is usage", async () => {
  const unknown = await agent.cli(["run", "qiuck"]);
  expect([unknown.exit, unknown.err]).toEqual([3, expect.stringContaining("did you mean quick?")]);
  expect((await agent.cli(["run", "quick", "--wiat"])).exit).toBe(2);
  expect((await agent.cli(["run", "quick", "--timeout", "soon"])).exit).toBe(2);
  expect((await agent.cli(["run"])).exit).toBe(2);
}, 30_000);

test("a run is followed over kill -9 of the agent; meanwhile nobody is there, exit code 5", async () => {
  const child = agent.begin(["run", "gate"]);
  await until("the question", () => child.out().includes("runs approve"), 20_000);
  const id = /runs approve\|deny (\S+)/.exec(child.out())![1]!;
  await agent.stop("SIGKILL");
  const left = await agent.cli(["runs", "show", id]);
  expect([left.exit, left.err]).toEqual([5, expect.stringContaining("is not running")]);
  expect(left.err).toContain(`start it with holdfast agent run --home ${agent.base} --id web-01`);
  await agent.start();
  expect((await agent.cli(["runs", "approve", id])).exit).toBe(0);
  expect(await child.exited).toBe(0);
  expect(child.out()).toMatch(/Finished run .* status succeeded/);
  expect(child.err()).toContain("trying again");
}, 60_000);

test("no agent is exit 3, one that does not run 5", async () => {
  const nobody = await agent.bare(["run", "quick", "--home", join(agent.base, "nowhere")]);
  expect(nobody.exit).toBe(3);
  await agent.stop();
  const stopped = await agent.cli(["run", "quick"]);
  expect([stopped.exit, stopped.err]).toEqual([
    5,
    expect.stringContaining(`holdfast agent run --home ${agent.base} --id web-01`),
  ]);
  await agent.start();
}, 60_000);
