/** A script as a plugin in a running agent: confined, and with `holdfast call` to have done what it may not do. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildExecutable, type Holdfast, startHoldfast, temporaryHome, until } from "./harness.ts";

const ID = "web-01";
let executable: string;
let agent: Holdfast | undefined;

beforeAll(async () => {
  executable = await buildExecutable();
}, 240_000);
afterAll(async () => {
  await agent?.kill();
});

const MANIFEST = `name: nudge
kind: action
description: Has the agent signal a process, and tries what it may not
runtime: exec
entry: nudge.sh
mode: once
settings:
  type: object
  properties: { secret: { type: string } }
permissions:
  exec: ["@system"]
  read: ["@system"]
  host: ["signal:sleep"]
`;
const SCRIPT = `#!/bin/sh
holdfast call log info "it was called" --field n=1 || exit 10
holdfast call host signal:sleep --json '{"signal":"TERM"}' > told.json || exit 11
if holdfast call host reboot 2> refused.txt; then exit 12; fi
if cat "$HOLDFAST_INPUT_FILE" 2>/dev/null; then exit 13; fi
printf '{"told": %s, "refused": "%s"}' "$(cat told.json)" "$(tr -d '"\\n' < refused.txt)"
`;

test("does host operations through the agent, and nothing that was not granted", async () => {
  const base = temporaryHome();
  const root = join(base, `agent-${ID}`);
  const folder = join(root, "data", "plugins", "nudge");
  mkdirSync(folder, { recursive: true });
  mkdirSync(join(root, "config", "conf.d"), { recursive: true });
  writeFileSync(join(folder, "plugin.yaml"), MANIFEST.replace("secret", "file"));
  writeFileSync(join(folder, "nudge.sh"), SCRIPT);
  chmodSync(join(folder, "nudge.sh"), 0o755);
  writeFileSync(join(root, "secret.txt"), "s3cret");
  writeFileSync(join(root, "config", "policy.yaml"), 'host: { operations: ["signal:sleep"] }\n');
  writeFileSync(
    join(root, "config", "conf.d", "test.yaml"),
    `triggers:
  - { name: once, plugin: interval, with: { every: 50ms, count: 1 } }
rules:
  - { name: nudge, on: once, run: nudge }
pipelines:
  nudge: { steps: [{ id: nudge, action: nudge, with: { file: ${join(root, "secret.txt")} }, timeout: 20s }] }
`,
  );
  const victim = Bun.spawn(["/bin/sleep", "300"]);
  agent = await startHoldfast(executable, [
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
  expect(await Promise.race([victim.exited, Bun.sleep(20_000)])).toBe(143);
  const audit = join(root, "logs", "audit", "host-operations.jsonl");
  const lines = () =>
    readFileSync(audit, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  await until(
    "both operations are in the audit",
    () => existsSync(audit) && readFileSync(audit, "utf8").split("\n").length > 3,
  );
  expect(lines()).toContainEqual(
    expect.objectContaining({ plugin: "nudge", operation: "signal:sleep", allowed: true }),
  );
  expect(lines()).toContainEqual(
    expect.objectContaining({ plugin: "nudge", operation: "reboot", allowed: false }),
  );
  const metrics = async () => await (await fetch(`${agent!.ready.health}/metrics`)).text();
  await until("the run has succeeded", async () =>
    /runs_ended_total\{state="succeeded"\} 1/.test(await metrics()),
  );
  expect(readFileSync(join(root, "logs", "plugins", "nudge.log"), "utf8")).toContain("it was called");
}, 90_000);
