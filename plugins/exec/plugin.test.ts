import { afterAll, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ActionError, type Json, v } from "../../src/sdk/holdfast.ts";
import { contextFor } from "../../src/testing/plugin-context.ts";
import { until } from "../../src/testing/until.ts";
import exec from "./plugin.ts";

const home = mkdtempSync(join(tmpdir(), "holdfast-exec-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

function script(name: string, text: string, mode = 0o755): string {
  writeFileSync(join(home, name), text);
  chmodSync(join(home, name), mode);
  return name;
}

function run(settings: Record<string, unknown>, signal?: AbortSignal): Promise<Json | void> {
  return exec.run(contextFor(exec, { settings, home, ...(signal && { signal }) }).context);
}

async function failure(settings: Record<string, unknown>, signal?: AbortSignal): Promise<ActionError> {
  return await run(settings, signal).then(
    (output) => Promise.reject(new Error(`succeeded with ${JSON.stringify(output)}`)),
    (error: unknown) => error as ActionError,
  );
}

const sh = (text: string) => ["/bin/sh", "-c", text];

test("a script of the home gets its input on stdin and as environment, from nothing", async () => {
  process.env.HOLDFAST_TEST_SECRET = "x";
  const command = script("show.sh", '#!/bin/sh\ncat; echo; env | grep -v "^_=" | sort | cut -c1-60\n');
  const input = { line: "ein Wort\n", n: 1.5, "odd name": true, deep: { a: 1 }, none: null };
  const output = (await run({ command, input, env: { EXTRA: "1" } })) as { stdout: string };
  delete process.env.HOLDFAST_TEST_SECRET;
  const [stdin, ...env] = output.stdout.trimEnd().split("\n");
  expect(JSON.parse(stdin!)).toEqual(input);
  const names = env
    .map((line) => line.split("=")[0])
    .filter((name) => name && name !== "PWD" && name !== "TMPDIR");
  expect(names).toEqual([
    "EXTRA",
    "HOLDFAST_AGENT",
    "HOLDFAST_ATTEMPT",
    "HOLDFAST_INPUT_LINE",
    "HOLDFAST_INPUT_N",
    "HOLDFAST_INPUT_ODD_NAME",
    "HOLDFAST_KEY",
    "HOLDFAST_RUN",
    "HOLDFAST_STEP",
    "HOME",
    "LANG",
    "PATH",
  ]);
  expect(env).toContain("HOLDFAST_KEY=run-1/step");
  expect(env).toContain("HOLDFAST_INPUT_N=1.5");
});

test("output as JSON, as text, and when it is neither", async () => {
  expect(await run({ command: sh("echo '{\"a\":1}'; echo careful >&2") })).toEqual({
    exit: 0,
    json: { a: 1 },
    stderr: "careful\n",
  });
  expect(await run({ command: sh("echo plain") })).toEqual({ exit: 0, stdout: "plain\n" });
  expect(await run({ command: sh("echo 1"), output: "text" })).toEqual({ exit: 0, stdout: "1\n" });
  expect(await failure({ command: sh("echo plain"), output: "json" })).toMatchObject({
    started: true,
    retryable: false,
  });
  expect(await run({ command: "true" })).toEqual({ exit: 0, stdout: "" });
});

test("arguments are not read by a shell", async () => {
  expect(await run({ command: ["echo", "$HOME; `id` *"] })).toMatchObject({ stdout: "$HOME; `id` *\n" });
});

test("another exit code is an error with the last lines of stderr", async () => {
  const error = await failure({ command: sh("for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3") });
  expect(error.message).toMatch(/exit code 3: line 3\n.*\n.*\n.*\nline 7$/);
  expect(error).toMatchObject({ started: true, retryable: true, code: "failed" });
  expect((await failure({ command: sh("kill -9 $$") })).message).toContain("was ended by SIGKILL");
});

test.each<[string, () => unknown, string, RegExp]>([
  ["missing", () => "nope.sh", "not_found", /no file .*nope\.sh, and nope\.sh is not in PATH/],
  ["missing path", () => "./bin/nope", "not_found", /no file .*bin\/nope/],
  ["not executable", () => script("nox.sh", "#!/bin/sh\n", 0o644), "denied", /chmod \+x \/.*nox\.sh/],
  ["folder", () => (mkdirSync(join(home, "scripts")), "scripts"), "invalid", /it is a folder/],
  [
    "bad interpreter",
    () => script("bad.sh", "#!/no/such/sh -e\n"),
    "not_found",
    /"\/no\/such\/sh", which is not there/,
  ],
  ["Windows lines", () => script("crlf.sh", "#!/bin/sh\r\n"), "not_found", /Windows line break/],
  ["no first line", () => script("plain.sh", "echo hi\n"), "invalid", /a first line like #!\/bin\/sh/],
])("%s: nothing was started, and what to do", async (_, command, code, message) => {
  const error = await failure({ command: command() });
  expect(error.message).toMatch(message);
  expect(error).toMatchObject({ started: false, retryable: false, code });
});

test("a missing folder to run in is named as such", async () => {
  const error = await failure({ command: "true", cwd: "nowhere" });
  expect(error.message).toContain(`no folder ${home}/nowhere`);
  expect(error.started).toBe(false);
  mkdirSync(join(home, "here"));
  expect(await run({ command: "pwd", cwd: "here" })).toMatchObject({
    stdout: expect.stringMatching(/\/here\n$/),
  });
});

test("100 MB of output: cut, marked, and not held in memory", async () => {
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  const output = (await run({ command: sh("head -c 100000000 /dev/zero | tr '\\0' x; echo end >&2") })) as {
    stdout: string;
  };
  expect(output).toMatchObject({ exit: 0, truncated: true, stderr: "end\n" });
  expect(output.stdout.length).toBe(256 * 1024);
  expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024);
});

test("an abort ends the whole group, also those who will not hear", async () => {
  const stop = new AbortController();
  const text = `trap '' TERM; (trap '' TERM; echo $$ > child; while :; do sleep 0.05; done) & wait; while :; do sleep 0.05; done`;
  const failed = failure({ command: sh(text) }, stop.signal);
  await until(
    "the child",
    () => existsSync(join(home, "child")) && readFileSync(join(home, "child"), "utf8").length > 1,
  );
  const group = Number(readFileSync(join(home, "child"), "utf8"));
  const began = performance.now();
  stop.abort();
  expect(await failed).toMatchObject({ code: "cancelled", started: true });
  expect(performance.now() - began).toBeLessThan(4_000);
  await until("the end of the group", () => !groupLives(group));
});

test("an abort is quick where SIGTERM is enough", async () => {
  const stop = new AbortController();
  const failed = failure({ command: sh("echo > ready; sleep 60 & sleep 60") }, stop.signal);
  await until("the script", () => existsSync(join(home, "ready")));
  const began = performance.now();
  stop.abort();
  expect((await failed).code).toBe("cancelled");
  expect(performance.now() - began).toBeLessThan(1_000);
  expect(await failure({ command: "true" }, stop.signal)).toMatchObject({ started: false });
});

test("a process that it leaves behind is not waited for", async () => {
  const began = performance.now();
  const output = (await run({ command: sh("sleep 30 & echo $!") })) as { json: number };
  expect(performance.now() - began).toBeLessThan(5_000);
  process.kill(output.json, "SIGKILL");
});

test("a program that does not read its stdin", async () => {
  expect(await run({ command: "true", input: { text: "x".repeat(1_000_000) } })).toMatchObject({ exit: 0 });
});

test("when the host of the plugin ends, its programs end", async () => {
  const source = `
    import exec from ${JSON.stringify(join(import.meta.dir, "plugin.ts"))};
    import { contextFor } from ${JSON.stringify(join(import.meta.dir, "../../src/testing/plugin-context.ts"))};
    const settings = { command: ["/bin/sh", "-c", "echo $$ > orphan; sleep 60"] };
    void exec.run(contextFor(exec, { settings, home: ${JSON.stringify(home)} }).context);
    process.stdin.on("data", () => process.exit(0)).resume();`;
  writeFileSync(join(home, "host.ts"), source);
  const host = Bun.spawn([process.execPath, join(home, "host.ts")], { stdin: "pipe", stderr: "inherit" });
  await until(
    "the script",
    () => existsSync(join(home, "orphan")) && readFileSync(join(home, "orphan"), "utf8").length > 1,
  );
  const group = Number(readFileSync(join(home, "orphan"), "utf8"));
  expect(groupLives(group)).toBe(true);
  host.stdin.write("end");
  await host.stdin.end();
  await host.exited;
  await until("the end of the group", () => !groupLives(group));
});

test("settings", () => {
  const good = (settings: object) => v.safeParse(exec.settings, settings).success;
  expect(good({ command: [] })).toBe(false);
  expect(good({ command: "" })).toBe(false);
  expect(good({ command: "a", env: { "A=B": "x" } })).toBe(false);
  expect(good({ command: "a", max_output: "2MB" })).toBe(false);
  expect(good({ command: ["a", ""], max_output: "1MB", input: [1] })).toBe(true);
});

/** Whether a process of the group still runs; zombies that nobody has reaped do not. */
function groupLives(group: number): boolean {
  return readdirSync("/proc").some((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    try {
      const [state, , pgrp] = readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)!.split(" ");
      return Number(pgrp) === group && state !== "Z" && state !== "X";
    } catch {
      return false;
    }
  });
}
