import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

const CONFIG = `
pipelines:
  pick:
    params:
      exit: { type: int }
      note: { default: none, pattern: "[a-z ]+" }
    steps:
      - { id: try, action: exec, effect: idempotent, retry: { attempts: 2, initial: 10ms },
          with: { command: exit.sh, input: { exit: "\${{ params.exit }}" } } }
`;

let agent: CliAgent;
beforeAll(async () => {
  agent = await cliAgent(CONFIG, { "exit.sh": 'echo no >&2; exit "$HOLDFAST_INPUT_EXIT"' });
}, 90_000);
afterAll(() => agent.close());

async function fails(exit: number): Promise<string> {
  const { out } = await agent.cli(["run", "pick", `exit=${exit}`, "--json"]);
  const run = JSON.parse(out);
  expect(run.state).toBe("failed");
  return run.id;
}

async function letters(): Promise<any[]> {
  return JSON.parse((await agent.cli(["dead", "list", "--all", "--json"])).out).items;
}

async function paramsOf(id: string): Promise<any> {
  return JSON.parse((await agent.cli(["dead", "show", id, "--json"])).out).params;
}

test("a run that failed is listed and shown with every error, edited, retried, and gone", async () => {
  const empty = await agent.cli(["dead", "list"]);
  expect(empty).toMatchObject({ exit: 0, out: "", err: "holdfast: no dead letters\n" });
  const id = await fails(75);
  const list = await agent.cli(["dead", "list"]);
  expect(list.out).toMatch(/^RUN +AGE +PIPELINE +RULE +STATE +ERRORS +REASON$/m);
  expect(list.out).toMatch(new RegExp(`^${id} +\\S+.* pick +- +failed +2 +.*75`, "m"));

  const { out } = await agent.cli(["dead", "show", id.slice(-8)]);
  expect(out).toMatch(/^State +failed$/m);
  expect(out).toContain('Parameters of the next try\n  {\n    "exit": 75');
  expect(out.match(/ try +[12] +.*exit code 75/g)).toHaveLength(2);

  const edited = await agent.cli([
    "dead",
    "edit",
    id,
    "--set",
    "exit=0",
    "--set",
    "note=mended by hand",
    "--json",
  ]);
  expect(JSON.parse(edited.out).params).toMatchObject({ exit: 0, note: "mended by hand" });
  const retried = await agent.cli(["dead", "retry", id]);
  expect(retried.out).toMatch(new RegExp(`^Run [0-9a-f-]{36} repeats run ${id}\\.\\n$`));
  expect(await letters()).toEqual([]);
  const made = /^Run (\S+)/.exec(retried.out)![1]!;
  const followed = await agent.cli(["runs", "logs", made, "--follow"]);
  expect(followed.err).toContain("is succeeded");
  const shown = JSON.parse((await agent.cli(["runs", "show", made, "--json"])).out);
  expect(shown).toMatchObject({
    state: "succeeded",
    retryOf: id,
    params: { exit: 0, note: "mended by hand" },
  });
}, 60_000);

test("what does not fit the declaration is not put into a letter", async () => {
  const id = await fails(1);
  for (const [word, message] of [
    ["exit=soon", "'soon' is not a whole number"],
    ["note=UP", "doesn't match the pattern"],
    ["exti=1", "did you mean 'exit'?"],
    ["exit", "name=value"],
  ] as const) {
    const { exit, err } = await agent.cli(["dead", "edit", id, "--set", word]);
    expect([word, exit, err]).toEqual([word, 2, expect.stringContaining(message)]);
  }
  const nothing = await agent.cli(["dead", "edit", id]);
  expect([nothing.exit, nothing.err]).toEqual([2, expect.stringContaining("EDITOR")]);
  expect((await paramsOf(id)).exit).toBe(1);
}, 60_000);

test("edit opens $EDITOR; what it leaves as it was changes nothing", async () => {
  const [{ run: id }] = await letters();
  const editor = join(agent.base, "editor.sh");
  writeFileSync(editor, '#!/bin/sh\nsed -i "s/\\"exit\\": 1/\\"exit\\": $1/" "$2"\n');
  chmodSync(editor, 0o755);
  const same = await agent.cli(["dead", "edit", id], { EDITOR: `${editor} 1` });
  expect([same.exit, same.err]).toEqual([0, "holdfast: nothing was changed\n"]);
  expect((await agent.cli(["dead", "edit", id], { EDITOR: `${editor} 7` })).exit).toBe(0);
  expect((await paramsOf(id)).exit).toBe(7);
  const failed = await agent.cli(["dead", "edit", id], { EDITOR: "false" });
  expect([failed.exit, failed.err]).toEqual([1, expect.stringContaining("nothing was changed")]);
}, 60_000);

test("drop and retry --all ask, and without a terminal want --yes", async () => {
  const [{ run: id }] = await letters();
  for (const args of [
    ["dead", "drop", id],
    ["dead", "drop", "--all"],
    ["dead", "retry", "--all"],
  ]) {
    expect(await agent.cli(args)).toMatchObject({ exit: 2, err: expect.stringContaining("give --yes") });
  }
  for (const args of [
    ["dead", "drop"],
    ["dead", "drop", id, "--all"],
  ]) {
    expect((await agent.cli(args)).exit).toBe(2);
  }
  const no = await agent.onTerminal(["dead", "drop", id], ["n"]);
  expect(no.out).toContain(`Drop the dead letter of run ${id} for good?`);
  expect(await letters()).toHaveLength(1);
  expect((await agent.onTerminal(["dead", "drop", id], ["y"])).out).toContain("is dropped");
  expect(await letters()).toEqual([]);
  const runs = [await fails(3), await fails(4)];
  const all = await agent.cli(["dead", "drop", "--all", "--yes", "--json"]);
  expect(JSON.parse(all.out).runs.toSorted()).toEqual(runs.toSorted());
  expect((await agent.cli(["runs", "show", id])).exit).toBe(0);
}, 60_000);

test("an unknown letter is exit 3 and says what the run is", async () => {
  const unknown = await agent.cli(["dead", "show", "ffffffff"]);
  expect([unknown.exit, unknown.err]).toEqual([3, expect.stringContaining("there is no run ffffffff")]);
  const { out } = await agent.cli(["run", "pick", "exit=0", "--json"]);
  const fine = await agent.cli(["dead", "retry", JSON.parse(out).id]);
  expect([fine.exit, fine.err]).toEqual([3, expect.stringContaining("is succeeded and is not set aside")]);
}, 30_000);
