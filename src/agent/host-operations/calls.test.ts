import { afterEach, expect, test } from "bun:test";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import { until } from "../../testing/until.ts";
import { hostHandler, logHandler } from "./call-handlers.ts";
import { type CallHandler, type CallServer, serveCalls } from "./call-server.ts";

const clock = systemClock();
const TOKEN = "token-of-this-run";
/** The same tests run on the compiled executable when this names one. */
const HOLDFAST =
  process.env.HOLDFAST_TEST_EXECUTABLE ??
  `${process.execPath} --no-install ${join(import.meta.dir, "../../main.ts")}`;

const cleanups: (() => void)[] = [];
afterEach(() => cleanups.splice(0).forEach((clean) => clean()));

interface Script {
  stdout: Promise<string>;
  stderr: Promise<string>;
  exited: Promise<number>;
  /** Ends a `read` of the script. */
  go(): void;
  server: CallServer;
}

/** A shell script with its channel on descriptor 4, as an agent starts one; `$H` is holdfast. */
function script(text: string, handlers: Record<string, CallHandler>, token = TOKEN): Script {
  const child = Bun.spawn(["/bin/sh", "-c", text], {
    stdio: ["pipe", "pipe", "pipe", "ignore", "socket-fd"] as unknown as ["pipe", "pipe", "pipe"],
    env: { PATH: "/usr/bin:/bin", H: HOLDFAST, HOLDFAST_CALL_FD: "4", HOLDFAST_CALL_TOKEN: token },
  });
  const server = serveCalls((child.stdio as unknown as number[])[4]!, handlers, { token: TOKEN, clock });
  cleanups.push(
    () => server.close(),
    () => child.kill("SIGKILL"),
  );
  return {
    stdout: new Response(child.stdout).text(),
    stderr: new Response(child.stderr).text(),
    exited: child.exited,
    go: () => void (child.stdin.write("\n"), child.stdin.flush()),
    server,
  };
}

test("twenty calls at once each get their own answer", async () => {
  const text = 'for n in $(seq 1 20); do $H call echo --json "{\\"n\\": $n}" | sed "s/^/$n /" & done; wait';
  // The later ones are answered sooner.
  const echo: CallHandler = async ({ n = null }) => {
    await clock.sleep((21 - Number(n)) * 2);
    return { n };
  };
  const { stdout, stderr } = script(text, { echo });
  const lines = (await stdout).trim().split("\n").sort();
  expect(await stderr).toBe("");
  expect(lines).toEqual(Array.from({ length: 20 }, (_, at) => `${at + 1} {"n":${at + 1}}`).sort());
}, 30_000);

test("host and log reach what they are for, and errors come back with their exit code", async () => {
  const asked: unknown[] = [];
  const logged: unknown[] = [];
  const operations = {
    perform: async (request: unknown): Promise<Json> => {
      asked.push(request);
      if (asked.length > 1) throw new HoldfastError("denied", "denied: host reboot: not granted");
      return { active_state: "active" };
    },
  };
  const of = { by: { plugin: "p", part: "a" }, grant: { host: ["reboot"] } };
  const text = [
    "$H call host systemd.status:nginx; echo $?",
    '$H call host reboot --json \'{"delay":"5m"}\'; echo $?',
    '$H call log warn "it is full" --field path=/var --field free=a=b; echo $?',
    "$H call log loud text; echo $?",
    "$H call memory get key; echo $?",
    "$H agent run; echo $?",
    "$H version > /dev/null; echo $?",
  ].join("\n");
  const { stdout, stderr } = script(text, {
    host: hostHandler(operations, of),
    log: logHandler((...line) => void logged.push(line)),
  });
  expect((await stdout).split("\n")).toEqual([
    '{"active_state":"active"}',
    "0",
    "4",
    "0",
    "2",
    "3",
    "4",
    "0",
    "",
  ]);
  expect(asked).toEqual([
    { ...of, operation: "systemd.status:nginx", arguments: {} },
    { ...of, operation: "reboot", arguments: { delay: "5m" } },
  ]);
  expect(logged).toEqual([["warn", "it is full", { path: "/var", free: "a=b" }]]);
  const said = await stderr;
  expect(said).toContain("holdfast: denied: host reboot: not granted");
  expect(said).toContain('there is no call "memory"; there are host, log');
  expect(said).toContain("only holdfast call and version work");
}, 30_000);

test("a token of another run is refused", async () => {
  const { stderr, exited } = script("$H call echo", { echo: async () => ({}) }, "token-of-other-run");
  expect(await stderr).toContain("the token is not that of this run");
  expect(await exited).toBe(4);
});

test("a caller that is killed holds nobody up, and its answer goes to nobody else", async () => {
  const slow = Promise.withResolvers<Json>();
  const asked: string[] = [];
  const handlers: Record<string, CallHandler> = {
    slow: () => (asked.push("slow"), slow.promise),
    quick: async () => {
      asked.push("quick");
      slow.resolve({ from: "slow" });
      return { from: "quick" };
    },
  };
  // The second can only talk when the kernel has taken the lock from the first; the third finds the first's answer.
  const text = [
    "$H call slow & first=$!",
    "read line",
    "$H call quick & second=$!",
    "kill -9 $first",
    "wait $second; $H call quick",
  ].join("\n");
  const { stdout, stderr, go } = script(text, handlers);
  await until("the first is asked", () => asked.length === 1, 10_000);
  go();
  expect((await stdout).trim().split("\n")).toEqual(['{"from":"quick"}', '{"from":"quick"}']);
  expect(await stderr).not.toContain("holdfast:");
  expect(asked).toEqual(["slow", "quick", "quick"]);
}, 30_000);

test("the end of the run ends a call that waits", async () => {
  let asked = 0;
  const never: CallHandler = () => (asked++, new Promise<Json>(() => {}));
  const { server, stderr, exited } = script("$H call never", { never });
  await until("it is asked", () => asked === 1, 10_000);
  server.close();
  expect(await stderr).toContain("the agent has closed the channel of this run");
  expect(await exited).toBe(5);
});

test("a call that gets no answer in its time says so", async () => {
  const never: CallHandler = () => new Promise<Json>(() => {});
  const { stderr, exited } = script("$H call never --timeout 100ms", { never });
  expect(await stderr).toContain("did not answer never within 0.1 s");
  expect(await exited).toBe(6);
});

test("rubbish on the channel hurts nobody", async () => {
  const seen: JsonObject[] = [];
  const echo: CallHandler = async (args) => (seen.push(args), args);
  const text = [
    "head -c 3000000 /dev/urandom >&4",
    'printf \'{"id":"half\' >&4',
    "$H call echo --json '{\"n\":1}'",
    "head -c 3000000 /dev/zero >&4",
    'printf \'\\n{"id":1}\\n[]\\nnull\\n{"id":"a","token":"x","verb":"echo"}\\n\' >&4',
    "$H call echo --json '{\"n\":2}'",
  ].join("\n");
  const { stdout, stderr } = script(text, { echo });
  expect((await stdout).trim().split("\n")).toEqual(['{"words":[],"n":1}', '{"words":[],"n":2}']);
  expect(await stderr).toBe("");
  expect(seen).toHaveLength(2);
}, 30_000);

test("an answer that is too large is told as that", async () => {
  const big: CallHandler = async () => "x".repeat(2_000_000);
  const { stderr } = script("$H call big", { big });
  expect(await stderr).toContain("an answer at most 1048576");
});

test("outside of a script it says where it works", async () => {
  const child = Bun.spawn([...HOLDFAST.split(" "), "call", "log", "info", "x"], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {},
  });
  expect(await new Response(child.stderr).text()).toContain("works in a script that an agent runs");
  expect(await child.exited).toBe(2);
});
