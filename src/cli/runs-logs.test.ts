import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type CliAgent, cliAgent } from "../testing/cli-agent.ts";

setDefaultTimeout(90_000);

const RETRY = "effect: idempotent, retry: { attempts: 2, initial: 10ms }";
const CONFIG = `
pipelines:
  chat:
    steps:
      - { id: said, action: chatty, with: { word: hello }, ${RETRY} }
      - { id: printed, action: sh-chatty, with: {}, ${RETRY} }
      - { id: ran, action: exec, with: { command: fail.sh }, ${RETRY} }
`;
const PLUGIN = `import { ActionError, defineAction, v } from "holdfast";
export default defineAction({
  name: "chatty", description: "says what it does", settings: v.strictObject({ word: v.string() }), permissions: {},
  async run({ settings, log, attempt }) {
    log.info("saying " + settings.word, { attempt });
    log.warn("of two\\nlines");
    if (attempt === 1) throw new ActionError("not yet", { code: "busy" });
    return { said: settings.word };
  },
});`;
const SCRIPT = `#!/bin/sh
echo "printed by $HOLDFAST_ATTEMPT"; echo "wrong" >&2
exit 3
`;
const MANIFEST = `name: sh-chatty
kind: action
runtime: exec
description: prints
entry: chat.sh
settings: { properties: {} }
permissions: { read: ['@system'], exec: ['@system'] }
`;

let agent: CliAgent;
const run: string[] = [];
beforeAll(async () => {
  agent = await cliAgent(CONFIG, { "fail.sh": "echo before; echo wrong >&2; exit 75" });
  const plugins = join(agent.base, `agent-${agent.id}`, "data", "plugins");
  for (const name of ["chatty", "sh-chatty"]) mkdirSync(join(plugins, name), { recursive: true });
  writeFileSync(join(plugins, "chatty", "plugin.ts"), PLUGIN);
  writeFileSync(join(plugins, "sh-chatty", "plugin.yaml"), MANIFEST);
  writeFileSync(join(plugins, "sh-chatty", "chat.sh"), SCRIPT);
  chmodSync(join(plugins, "sh-chatty", "chat.sh"), 0o755);
  await agent.stop();
  await agent.start();
  // Two at once: what one says is not the other's.
  const both = await Promise.all([0, 1].map(() => agent.cli(["run", "chat", "--json"])));
  run.push(...both.map(({ out }) => JSON.parse(out.trim().split("\n").at(-1)!).id as string));
});
afterAll(() => agent.close());

test.each([0, 1])("what each attempt logged and printed, of run %d", async (number) => {
  const { exit, out } = await agent.cli(["runs", "logs", run[number]!]);
  expect(exit).toBe(0);
  const step = (name: string) =>
    out
      .slice(out.indexOf(`== ${name} `))
      .split("\n== ")[0]!
      .trimEnd()
      .split("\n");
  const said = (attempt: number) => [
    `LOG info saying hello {"attempt":${attempt}}`,
    "LOG warn of two",
    "LOG lines",
  ];
  expect(step("said")).toEqual([
    "== said (chatty): succeeded",
    "-- attempt 1: busy: not yet",
    ...said(1),
    "-- attempt 2",
    ...said(2),
    ...["-- output", "{", '  "said": "hello"', "}"],
  ]);
  const printed = step("printed");
  expect(printed.slice(0, 2)).toEqual([
    "== printed (sh-chatty): dead",
    "-- attempt 1: failed: sh-chatty ended with exit code 3: wrong",
  ]);
  expect(printed.slice(2, 4).toSorted()).toEqual(["ERR wrong", "OUT printed by 1"]);
  expect(printed[4]).toBe("-- attempt 2");
  expect(printed.slice(5, 7).toSorted()).toEqual(["ERR wrong", "OUT printed by 2"]);
  expect(step("ran").slice(2, 7)).toEqual([
    "OUT before",
    "ERR wrong",
    "-- attempt 2",
    "OUT before",
    "ERR wrong",
  ]);
});

test("as JSON each line has its attempt, time and stream", async () => {
  const { out } = await agent.cli(["runs", "logs", run[0]!, "--step", "printed", "--json"]);
  const { complete, steps } = JSON.parse(out);
  expect([complete, steps.length, steps[0].lines.length]).toEqual([true, 1, 4]);
  expect(steps[0].lines).toContainEqual({
    ...{ step: "printed", attempt: 2, time: expect.any(String), level: "info", stream: "stdout" },
    ...{ text: "printed by 2", fields: null },
  });
});
