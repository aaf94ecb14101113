import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";
import { until } from "../testing/until.ts";

const CONFIG = `
pipelines:
  sub: { steps: [{ id: say, action: exec, with: { command: say.sh }, effect: idempotent }] }
  fan:
    steps:
      - { id: a, action: exec, with: { command: say.sh }, effect: idempotent,
          undo: { action: exec, with: { command: say.sh } } }
      - { id: b, needs: [a], action: exec, with: { command: say.sh }, effect: idempotent }
      - { id: each, needs: [a], foreach: "['x', 'y']", action: exec, with: { command: say.sh }, effect: idempotent }
      - { id: part, needs: [a], pipeline: sub }
      - { id: d, needs: [b, each, part], action: exec, with: { command: fail.sh }, effect: idempotent,
          retry: { attempts: 2, initial: 10ms } }
      - { id: e, needs: [d], action: exec, with: { command: say.sh } }
    finally:
      - { id: close, action: exec, with: { command: say.sh } }
      - { id: last, action: exec, with: { command: say.sh } }
    on_failure: [{ id: tell, action: exec, with: { command: say.sh } }]
  slow:
    steps: [{ id: wait, action: exec, with: { command: slow.sh }, timeout: 5m }]
    finally: [{ id: close, action: exec, with: { command: say.sh } }]
  gate:
    steps:
      - { id: one, approval: { text: First?, strict: false } }
      - { id: two, approval: { text: Second?, strict: false } }
`;
const SCRIPTS = {
  "say.sh": "echo hello; echo careful >&2",
  "fail.sh": "echo before; echo wrong >&2; exit 75",
  "slow.sh": "echo $$ > $TMPDIR/pid; exec sleep 300",
};

let agent: CliAgent;
let fan: string;
beforeAll(async () => {
  agent = await cliAgent(CONFIG, SCRIPTS);
  fan = await finished("fan");
}, 90_000);
afterAll(() => agent.close());

async function begun(pipeline: string): Promise<string> {
  return JSON.parse((await agent.cli(["run", pipeline, "--no-wait", "--json"])).out).id;
}

async function finished(pipeline: string): Promise<string> {
  return JSON.parse((await agent.cli(["run", pipeline, "--json"])).out).id;
}

async function shown(id: string): Promise<any> {
  return JSON.parse((await agent.cli(["runs", "show", id, "--json"])).out);
}

describe("list", () => {
  test("newest first, filtered, limited, all, as JSON", async () => {
    const [table, failed, json, limited, none] = await Promise.all([
      agent.cli(["runs", "list"]),
      agent.cli(["runs", "list", "--state", "failed", "--json"]),
      agent.cli(["runs", "list", "--all", "--json"]),
      agent.cli(["runs", "list", "--limit", "1", "--json"]),
      agent.cli(["runs", "list", "--pipeline", "nothing"]),
    ]);
    const head = /^RUN +CREATED +AGE +AGENT +PIPELINE +STARTED BY +STATE +STEP +TOOK +REASON$/m;
    expect(table.out).toMatch(head);
    expect(table.out).toMatch(
      new RegExp(`^${fan} .* web-01 +fan +manual local:\\d+ +failed +- +\\S+ +step d is dead`, "m"),
    );
    expect(table.out).toMatch(new RegExp(`sub +parent ${fan} +succeeded`));
    expect(JSON.parse(failed.out).items.map((item: any) => item.pipeline)).toEqual(["fan"]);
    expect(JSON.parse(json.out).items.map((item: any) => item.pipeline)).toEqual(["sub", "fan"]);
    const page = JSON.parse(limited.out);
    expect([page.items.length, typeof page.next]).toEqual([1, "string"]);
    expect(none).toMatchObject({ exit: 0, out: "", err: "holdfast: no run fits\n" });
  }, 30_000);

  test("--watch tells runs as they change, until Ctrl-C", async () => {
    const child = agent.begin(["runs", "list", "--watch", "--pipeline", "gate"]);
    const id = await begun("gate");
    await until("the run to show", () => child.out().includes(id.slice(-12)), 20_000);
    await agent.cli(["runs", "cancel", id]);
    await until("its end", () => /cancelled/.test(child.out()), 20_000);
    child.kill("SIGINT");
    expect(await child.exited).toBe(0);
  }, 60_000);

  test("a state that there is not", async () => {
    const { exit, err } = await agent.cli(["runs", "list", "--state", "faild"]);
    expect(exit).toBe(2);
    expect(err).toContain("did you mean failed?");
  });
});

describe("show", () => {
  test("draws the graph with states, attempts, items, undo, finally and on failure", async () => {
    const { out } = await agent.cli(["runs", "show", fan.slice(-8)], { LANG: "C.UTF-8" });
    expect(out).toMatch(/^✓ a +exec +succeeded +1 +\S+ +idempotent/m);
    expect(out).toContain("\n├─┬─┐\n");
    expect(out).toMatch(/^│ ✓ │ each /m);
    expect(out).toMatch(/^│ │ │ └ ✓ \[1\] .* item "y"$/m);
    expect(out).toMatch(/^│ │ ✓ part +pipeline sub +succeeded +.* run [0-9a-f]{12}$/m);
    expect(out).toContain("\n├─┴─┘\n✗ d ");
    expect(out).toMatch(/^✗ d +exec +dead +2 .*exit code 75/m);
    expect(out).toMatch(/^· e +exec +skipped .*step d is dead/m);
    expect(out).toMatch(
      /^Undo\n✓ a~undo .* takes back a\nFinally\n✓ last .*\n✓ close .*\nOn failure\n✓ tell /m,
    );
    expect(out).toMatch(/^d +2 +failed .*exit code 75/m);
    expect(out).toMatch(/^Sub-runs\n.*\n[0-9a-f-]{36} +sub +succeeded +part +yes$/m);
  });

  test("in ASCII where the locale has no more", async () => {
    const { out } = await agent.cli(["runs", "show", fan], { LC_ALL: "C" });
    expect(out).toContain("\n+-.-.\n");
    expect(out).toMatch(/^x d +exec +dead/m);
  });

  test("what waits for a person, and what has not begun", async () => {
    const id = await begun("gate");
    const slow = await begun("slow");
    const { out } = await agent.cli(["runs", "show", id]);
    expect(out).toMatch(/^o one +approval +waiting .*waits for approval: First\?; ends in/m);
    expect(out).toContain(`holdfast runs approve|deny ${id} --step 'two'`);
    const open = await agent.cli(["runs", "list", "--open"]);
    expect(open.out).toMatch(new RegExp(`^${id} .* gate +manual local:\\d+ +\\S+ +one,two +-`, "m"));
    expect(open.out).not.toContain(fan);
    expect((await agent.cli(["runs", "show", slow])).out).toContain("Finally, not begun: close (exec)");
    for (const each of [id, slow]) await agent.cli(["runs", "cancel", each]);
  }, 30_000);

  test("an unknown id is exit 3, an ambiguous one says which there are", async () => {
    const unknown = await agent.cli(["runs", "show", "ffffffff"]);
    expect([unknown.exit, unknown.err]).toEqual([3, expect.stringContaining("holdfast runs list")]);
    const several = await agent.cli(["runs", "show", fan.slice(0, 4)]);
    expect([several.exit, several.err]).toEqual([1, expect.stringContaining("the ids of several runs")]);
  });
});

describe("logs", () => {
  test("lines are marked; one step; an unknown step names those there are", async () => {
    const [all, one, wrong] = await Promise.all([
      agent.cli(["runs", "logs", fan]),
      agent.cli(["runs", "logs", fan, "--step", "a"]),
      agent.cli(["runs", "logs", fan, "--step", "z"]),
    ]);
    expect(all.out).toContain("== b (exec): succeeded\nOUT hello\nERR careful\n");
    expect(all.out).toMatch(/== d \(exec\): dead\n-- attempt 1: .*75.*\n/);
    expect(one.out).toStartWith("== a (exec): succeeded\nOUT hello\nERR careful\n");
    expect(one.out).not.toContain("== b");
    expect([wrong.exit, wrong.err]).toEqual([3, expect.stringContaining("its steps are a, b, each")]);
  });

  test("--follow goes on until the run has ended", async () => {
    const id = await begun("gate");
    const child = agent.begin(["runs", "logs", id, "--follow"]);
    await agent.cli(["runs", "approve", id, "--step", "one", "--note", "fine"]);
    await until("the first step", () => child.out().includes("== one (approval): succeeded"), 20_000);
    expect(child.out()).not.toContain("== two");
    await agent.cli(["runs", "deny", id]);
    expect(await child.exited).toBe(0);
    expect(child.out()).toContain("== two (approval): failed");
    expect(child.err()).toContain(`run ${id} is failed`);
  }, 60_000);
});

describe("an agent that is killed", () => {
  test("finds no program of an earlier attempt running beside the next", async () => {
    const id = await begun("slow");
    await until("the script", () => programs("sleep 300").length === 1, 30_000);
    const [left] = programs("sleep 300");
    await agent.stop("SIGKILL");
    await agent.start();
    await until("what it left to be gone", () => !programs("sleep 300").includes(left!), 30_000);
    for (let state = ""; state !== "failed";) state = (await shown(id)).state;
    expect((await shown(id)).steps[0]).toMatchObject({ step: "wait", state: "uncertain" });
  }, 90_000);
});

/** Processes of this test's agent with this command line: their TMPDIR lies in its home. */
function programs(command: string): string[] {
  return readdirSync("/proc").filter((pid) => {
    try {
      const words = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").join(" ").trim();
      return words === command && readFileSync(`/proc/${pid}/environ`, "utf8").includes(agent.base);
    } catch {
      return false;
    }
  });
}

describe("cancel, retry, approve and deny", () => {
  test("cancel stops what runs, the finally steps run, and who and why is kept", async () => {
    const id = await begun("slow");
    for (let state = ""; state !== "running";) state = (await shown(id)).steps[0].state;
    expect((await agent.cli(["runs", "cancel", id, "--reason", "wrong host"])).out).toContain(
      "is being cancelled",
    );
    for (let state = ""; state !== "cancelled";) state = (await shown(id)).state;
    const run = await shown(id);
    expect(run.stop).toMatchObject({ by: `local:${process.getuid?.()}`, reason: "wrong host" });
    expect(run.steps.map((step: any) => [step.step, step.state])).toEqual([
      ["wait", "cancelled"],
      ["close", "succeeded"],
    ]);
    const again = await agent.cli(["runs", "cancel", id]);
    expect([again.exit, again.err]).toEqual([1, expect.stringContaining("already ended: it is cancelled")]);
  }, 60_000);

  test("retry makes a new run like the old one", async () => {
    const { out } = await agent.cli(["runs", "retry", fan.slice(-8), "--json"]);
    const { run, retryOf } = JSON.parse(out);
    expect(retryOf).toBe(fan);
    expect(await shown(run)).toMatchObject({ pipeline: "fan", retryOf: fan, starter: { kind: "retry" } });
  }, 30_000);

  test("an answer names the step where several wait, and one that waits", async () => {
    const id = await begun("gate");
    const several = await agent.cli(["runs", "approve", id]);
    expect([several.exit, several.err]).toEqual([2, expect.stringContaining("--step (one, two)")]);
    const unknown = await agent.cli(["runs", "approve", id, "--step", "onee"]);
    expect([unknown.exit, unknown.err]).toEqual([3, expect.stringContaining("did you mean one?")]);
    expect((await agent.cli(["runs", "deny", id, "--step", "two"])).exit).toBe(0);
    const nothing = await agent.cli(["runs", "approve", fan]);
    expect([nothing.exit, nothing.err]).toEqual([1, expect.stringContaining("waits for a person")]);
  }, 30_000);
});

describe("whom a command asks", () => {
  test("the one agent of the default home, named on stderr; --agent is the hub", async () => {
    // Root's default home is the host's own: it is left alone.
    if (process.getuid?.() !== 0) {
      mkdirSync(join(agent.base, "state"));
      symlinkSync(agent.base, join(agent.base, "state", "holdfast"));
      const { exit, out } = await agent.bare(["runs", "show", fan, "--json"]);
      expect([exit, JSON.parse(out).id]).toEqual([0, fan]);
    }
    const verbose = await agent.cli(["runs", "list", "--verbose"]);
    expect(verbose.err).toContain("agent web-01 on");
    const hub = await agent.bare(["runs", "list", "--agent", "web-01", "--home", agent.base]);
    expect([hub.exit, hub.err]).toEqual([3, expect.stringContaining("There is no hub")]);
    const both = await agent.cli(["runs", "list", "--hub", "http://127.0.0.1:1"]);
    expect([both.exit, both.err]).toEqual([2, expect.stringContaining("--id means an agent")]);
  });

  test("an agent that does not run is exit 5", async () => {
    await agent.stop();
    for (const args of [
      ["runs", "list"],
      ["runs", "show", fan],
      ["runs", "cancel", fan],
      ["runs", "logs", fan],
    ]) {
      const { exit, err } = await agent.cli(args);
      expect([args[1], exit, err]).toEqual([args[1], 5, expect.stringContaining("is not running")]);
    }
    await agent.start();
    expect((await shown(fan)).id).toBe(fan);
  }, 60_000);
});
