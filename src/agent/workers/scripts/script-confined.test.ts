/** Scripts behind the real stage 1: the pipes, the interpreters and the ends are as they are without it. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ProposedEvent } from "../../../model/event.ts";
import type { Grant } from "../../../model/grant.ts";
import type { JsonObject } from "../../../model/json.ts";
import { noAdditions } from "../../../testing/no-additions.ts";
import { confinedLauncher } from "../../../testing/confined-script-launcher.ts";
import { type ScriptBench, scriptBench, type ScriptFixture } from "../../../testing/script-bench.ts";
import { testCommand } from "../../../testing/stage-one-rig.ts";
import { until } from "../../../testing/until.ts";
import { probeKernel } from "../sandbox/probe.ts";
import type { ScriptPorts } from "./ports.ts";
import { ScriptAction } from "./script-action.ts";
import { startScriptTrigger } from "./script-trigger.ts";

setDefaultTimeout(30_000);

const SYSTEM: Partial<Grant> = { read: ["@system"], exec: ["@system"] };

let confined: ReturnType<typeof confinedLauncher>;
let bench: ScriptBench;
let ports: ScriptBench["ports"];
beforeAll(async () => void (confined = confinedLauncher(await probeKernel(testCommand()))), 30_000);
afterAll(() => confined.close());
beforeEach(() => {
  bench = scriptBench({ drainMs: 2_000 });
  // The script may be another user.
  chmodSync(bench.dir, 0o755);
  ports = { ...bench.ports, launcher: confined.launcher };
});
afterEach(() => bench.close());

async function call(text: string, options: ScriptFixture = {}, input: JsonObject = {}) {
  const action = new ScriptAction({ ...bench.script("act", text, options), idleMs: 60_000 }, ports);
  const about = { key: "r/s", run: "r", step: "s", attempt: 1, timeoutMs: 10_000, add: noAdditions };
  const outcome = await action.call({ input, ...about }, new AbortController().signal);
  await action.stop();
  return outcome;
}
const sh = (text: string) => `#!/bin/sh\n${text}\n`;

test("input, output, log and the names of all three", async () => {
  const outcome = await call(
    sh(`cat /dev/stdin | tee copy > /dev/stdout; sh -c 'echo told > /dev/stderr'; cmp copy "$HOME/copy"`),
    { grant: SYSTEM },
    { a: [1, "ü"] },
  );
  expect(outcome).toEqual({ kind: "ok", output: { a: [1, "ü"] } });
  expect(bench.lines.map(({ message }) => message)).toEqual(["told"]);
}, 20_000);

test("an interpreter needs no permission; starting another program does", async () => {
  const python = (text: string) => `#!/usr/bin/env python3\nimport json, subprocess, sys\n${text}\n`;
  expect(await call(python("print(json.load(sys.stdin)['n'] + 1)"), {}, { n: 1 })).toEqual({
    kind: "ok",
    output: 2,
  });
  const start = python("subprocess.run(['echo', '\"hi\"'], check=True)");
  expect(await call(start)).toMatchObject({ kind: "error", error: { code: "failed", started: true } });
  expect(await call(start, { grant: SYSTEM })).toEqual({ kind: "ok", output: "hi" });
}, 20_000);

test("nothing outside is read or written; what is granted is", async () => {
  const [own, other] = [join(bench.dir, "own"), join(bench.dir, "other")];
  for (const folder of [own, other]) {
    mkdirSync(folder);
    chmodSync(folder, 0o777);
    writeFileSync(join(folder, "file"), "content", { mode: 0o666 });
  }
  const script = sh(
    `for f in ${own} ${other}; do cat $f/file > /dev/null 2>&1 && echo "read $f"; (echo x > $f/new) 2> /dev/null && echo "wrote $f"; done; exit 0`,
  );
  const { output } = (await call(script, { grant: { ...SYSTEM, write: [own] } })) as {
    output: JsonObject;
  };
  expect(output.raw_output).toBe(`read ${own}\nwrote ${own}\n`);
  expect(existsSync(join(other, "new"))).toBe(false);
}, 20_000);

test("its time-out reaches what it started", async () => {
  const file = join(bench.dir, "pids");
  writeFileSync(file, "", { mode: 0o666 });
  chmodSync(file, 0o666);
  const outcome = await call(sh(`sleep 60 & echo $! $$ >> ${file}; wait`), {
    grant: { ...SYSTEM, write: [file] },
    resources: { wallTime: 2_000 },
  });
  expect(outcome).toMatchObject({ kind: "unknown", error: { code: "timed_out" } });
  const pids = readFileSync(file, "utf8").trim().split(" ");
  expect(pids).toHaveLength(2);
  await until("their end", () => !pids.some(alive));
}, 20_000);

test("a trigger emits, and ends when it is asked to", async () => {
  const kept: ProposedEvent[] = [];
  const made = bench.script("watch", sh(`echo '{"type": "up"}'; while :; do sleep 0.1; done`), {
    kind: "trigger",
    grant: SYSTEM,
  });
  const part = await startScriptTrigger(
    {
      name: "w",
      settings: {},
      ...made,
      checkpoint: async () => undefined,
      onEvents: async (events) => void kept.push(...events),
    },
    ports satisfies ScriptPorts,
    new AbortController().signal,
  );
  await until("its event", () => kept.length === 1, 10_000);
  const began = performance.now();
  await part.stop();
  expect(performance.now() - began).toBeLessThan(1_500);
  expect(await part.ended).toMatchObject({ clean: false });
}, 20_000);

/** Zombies that nobody has reaped do not live. */
function alive(pid: string): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}
