import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { JsonObject } from "../../../model/json.ts";
import { noAdditions } from "../../../testing/no-additions.ts";
import { type ScriptBench, scriptBench, type ScriptFixture } from "../../../testing/script-bench.ts";
import { until } from "../../../testing/until.ts";
import { ScriptAction } from "./script-action.ts";

setDefaultTimeout(30_000);

let bench: ScriptBench;
const open: ScriptAction[] = [];
beforeEach(() => (bench = scriptBench()));
afterEach(async () => {
  for (const action of open.splice(0)) await action.stop();
  expect(readdirSync(bench.workdir)).toEqual([]);
  bench.close();
});

function action(text: string, options: ScriptFixture = {}, idleMs = 60_000): ScriptAction {
  const name = open.length === 0 ? "act" : `act-${open.length}`;
  const made = new ScriptAction({ ...bench.script(name, text, options), idleMs }, bench.ports);
  open.push(made);
  return made;
}
const sh = (text: string) => `#!/bin/sh\n${text}\n`;
const never = new AbortController().signal;
const call = (to: ScriptAction, input: JsonObject = {}, timeoutMs = 5_000, signal = never) =>
  to.call(
    { input, key: "run/step", run: "run", step: "step", attempt: 2, timeoutMs, add: noAdditions },
    signal,
  );
const messages = () => bench.lines.map(({ message }) => message);

describe("a process for each call", () => {
  test("a plain script: exit 0 is success, what it prints is kept as it is", async () => {
    expect(await call(action(sh("echo hello; echo working >&2")))).toEqual({
      kind: "ok",
      output: { raw_output: "hello\n" },
    });
    expect(bench.lines).toMatchObject([
      { level: "warn", component: "act", message: "working", fields: { stream: "stderr" } },
    ]);
  });

  test("no descriptor is left of a call", async () => {
    const descriptors = () => readdirSync("/proc/self/fd").length;
    const echo = action(sh("cat; exit $HOLDFAST_INPUT_CODE"));
    await call(echo, { code: 0 });
    const before = descriptors();
    for (let n = 0; n < 20; n++) await call(echo, { code: n % 2 });
    await until("all closed", () => descriptors() <= before);
  });

  test("the names of its stdin, stdout and stderr work", async () => {
    const names = action(sh("cat /dev/stdin > /dev/stdout; echo told > /dev/stderr"));
    expect(await call(names, { a: 1 })).toEqual({ kind: "ok", output: { a: 1 } });
    expect(messages()).toEqual(["told"]);
  });

  test("JSON in on stdin, JSON out on stdout", async () => {
    const add = action(
      "#!/usr/bin/env python3\nimport json, sys\nd = json.load(sys.stdin)\nprint(json.dumps({'sum': d['a'] + d['b'], 'text': d['t']}))",
    );
    expect(await call(add, { a: 1, b: 2, t: "ü\n\0" })).toEqual({
      kind: "ok",
      output: { sum: 3, text: "ü\n\0" },
    });
  });

  test("input, call and declared variables are in its environment, and nothing else", async () => {
    process.env.HOLDFAST_TEST_SECRET_TOKEN = "s3cr3t";
    process.env.HOLDFAST_TEST_GRANTED = "handed on";
    const show = action("#!/usr/bin/env python3\nimport json, os\nprint(json.dumps(dict(os.environ)))", {
      entry: { env: { LC_ALL: "C", FIXED: "1" } },
      grant: { env: ["HOLDFAST_TEST_GRANTED", "HOLDFAST_TEST_ABSENT"] },
    });
    const input = {
      path: "/a b",
      n: 5,
      ok: true,
      no: null,
      list: [1],
      api_token: "t",
      deep: { password: "p" },
    };
    const outcome = (await call(show, input)) as { output: Record<string, string> };
    delete process.env.HOLDFAST_TEST_SECRET_TOKEN;
    delete process.env.HOLDFAST_TEST_GRANTED;
    const { PATH, HOME, TMPDIR, LANG, HOLDFAST_TIMEOUT_MS, LC_CTYPE, ...rest } = outcome.output;
    expect([PATH, LANG, TMPDIR]).toEqual(["/usr/local/bin:/usr/bin:/bin", "C.UTF-8", HOME]);
    expect(Number(HOLDFAST_TIMEOUT_MS)).toBeWithin(4_000, 5_001);
    expect(rest).toEqual({
      LC_ALL: "C",
      FIXED: "1",
      HOLDFAST_TEST_GRANTED: "handed on",
      HOLDFAST_AGENT: "test-01",
      HOLDFAST_HOME: bench.dir,
      HOLDFAST_NAME: "act",
      HOLDFAST_PLUGIN_DIR: join(bench.dir, "plugins", "act"),
      HOLDFAST_KEY: "run/step",
      HOLDFAST_RUN: "run",
      HOLDFAST_STEP: "step",
      HOLDFAST_ATTEMPT: "2",
      HOLDFAST_INPUT_PATH: "/a b",
      HOLDFAST_INPUT_N: "5",
      HOLDFAST_INPUT_OK: "true",
      HOLDFAST_INPUT_LIST: "[1]",
    });
  });

  test("another exit code is an error with the end of stderr; it does not count as a crash", async () => {
    const fail = action(sh("for i in 1 2 3 4 5 6 7; do echo line $i >&2; done; exit 3"));
    for (let n = 0; n < 6; n++) {
      expect(await call(fail)).toEqual({
        kind: "error",
        error: {
          code: "failed",
          message: "act ended with exit code 3: line 3\nline 4\nline 5\nline 6\nline 7",
          retryable: true,
          started: true,
        },
      });
    }
    expect(fail.status()).toMatchObject({ state: "stopped", restarts: 0 });
  });

  test("an error that it tells as JSON is taken over", async () => {
    const told = (json: string) => call(action(sh(`echo '${json}'; exit 1`)));
    expect(
      await told('{"error": {"message": "no disk", "code": "disk", "retryable": false, "started": false}}'),
    ).toEqual({
      kind: "error",
      error: { message: "no disk", code: "disk", retryable: false, started: false },
    });
    expect(await told('{"error": "short"}')).toMatchObject({
      error: { message: "short", code: "failed", retryable: true, started: true },
    });
    expect(await told('{"error": {"__proto__": {"message": "x"}}}')).toMatchObject({
      error: { message: "it failed and gave no reason" },
    });
  });

  test("settings are checked by its schema, with defaults, before it is started", async () => {
    const settings = {
      type: "object",
      properties: { who: { type: "string" }, n: { type: "integer", default: 7 } },
      required: ["who"],
      additionalProperties: false,
    };
    const greet = action(sh('echo "{\\"n\\": $HOLDFAST_INPUT_N}"'), { settings });
    expect(await call(greet, { who: "x" })).toMatchObject({ output: { n: 7 } });
    expect(await call(greet, { whom: "x", n: "1" })).toEqual({
      kind: "error",
      error: {
        code: "invalid",
        message:
          'wrong settings for act: who: is missing; whom: unknown setting; n: has the wrong type, found "1"',
        retryable: false,
        started: false,
      },
    });
  });

  test("at its time-out everything that it started is taken away, and the outcome is unknown", async () => {
    const file = join(bench.dir, "pids");
    const slow = action(
      sh(`trap '' TERM; (trap '' TERM; sleep 60 & echo $! >> ${file}; wait) & echo $$ >> ${file}; wait`),
    );
    const outcome = await call(slow, {}, 400);
    expect(outcome).toMatchObject({ kind: "unknown", error: { code: "timed_out", started: true } });
    expect((outcome as { error: { message: string } }).error.message).toContain("within 400 ms");
    const pids = readFileSync(file, "utf8").trim().split("\n");
    expect(pids).toHaveLength(2);
    await until("their end", () => pids.every((pid) => !alive(pid)));
  });

  test("its own wallTime ends it before the step's time-out", async () => {
    const slow = action(sh("sleep 60"), { resources: { wallTime: 150 } });
    expect(await call(slow)).toMatchObject({
      kind: "unknown",
      error: { code: "timed_out", message: "act: it did not end within its wallTime of 150 ms" },
    });
    // It went when it was asked to: no crash.
    expect(slow.status().restarts).toBe(0);
  });

  test("a cancel ends it; one before the start starts nothing", async () => {
    const stop = new AbortController();
    const file = join(bench.dir, "started");
    const slow = action(sh(`echo > ${file}; sleep 60`));
    const outcome = call(slow, {}, 5_000, stop.signal);
    await until("its start", () => existsSync(file));
    stop.abort();
    expect(await outcome).toMatchObject({ kind: "unknown", error: { code: "cancelled" } });
    expect(await call(slow, {}, 5_000, stop.signal)).toMatchObject({
      kind: "error",
      error: { code: "cancelled", started: false },
    });
  });

  test("killed in the middle: unknown; five such ends are quarantine, and a reset ends it", async () => {
    const die = action(sh("kill -9 $$"));
    for (let n = 0; n < 5; n++) {
      expect(await call(die)).toMatchObject({
        kind: "unknown",
        error: { code: "crashed", message: "act: crashed(SIGKILL)" },
      });
    }
    expect(die.status()).toMatchObject({ state: "quarantined", restarts: 5 });
    expect(await call(die)).toMatchObject({ error: { code: "quarantined", started: false } });
    die.reset();
    expect(die.status().state).toBe("stopped");
    expect(await call(die)).toMatchObject({ kind: "unknown" });
  });

  test("100 MB of output end the call at the limit, and memory stays flat", async () => {
    const flood = action(sh("head -c 100000000 /dev/zero | tr '\\0' x"), {
      resources: { output: 2 * 1024 ** 2 },
    });
    Bun.gc(true);
    const before = process.memoryUsage.rss();
    expect(await call(flood)).toMatchObject({
      kind: "unknown",
      error: { code: "output", message: "act: output: more than 2097152 bytes were printed" },
    });
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024);
    expect(flood.status().restarts).toBe(1);
  });

  test("100 MB that are allowed are cut", async () => {
    const flood = action(sh("head -c 100000000 /dev/zero | tr '\\0' x"), { resources: { output: 2 ** 28 } });
    Bun.gc(true);
    const before = process.memoryUsage.rss();
    const { output } = (await call(flood, {}, 20_000)) as { output: JsonObject };
    expect(output).toMatchObject({ truncated: true, bytes: 100_000_000 });
    expect(output.raw_output).toHaveLength(64 * 1024);
    expect(process.memoryUsage.rss() - before).toBeLessThan(64 * 1024 * 1024);
  }, 30_000);

  test("stderr counts as well", async () => {
    const flood = action(sh("while :; do echo xxxxxxxxxxxxxxxxxxxxxxxx >&2; done"), {
      resources: { output: 4096 },
    });
    expect(await call(flood)).toMatchObject({ kind: "unknown", error: { code: "output" } });
  });

  test("hostile output is raw output", async () => {
    const python = (text: string) =>
      call(action(`#!/usr/bin/env python3\nimport sys\nsys.stdout.buffer.write(${text})\n`));
    expect(await python("b'[' * 1000000")).toMatchObject({ output: { truncated: true, bytes: 1_000_000 } });
    expect(await python("b'[' * 1000 + b']' * 1000")).toMatchObject({
      output: { raw_output: expect.any(String) },
    });
    expect(await python("b'\\xff\\xfe\\x00'")).toMatchObject({ output: { raw_output: "��\0" } });
    const proto = await python(`b'{"__proto__": {"polluted": 1}, "constructor": 2}'`);
    expect(Object.keys((proto as { output: JsonObject }).output)).toEqual(["__proto__", "constructor"]);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
    expect(await python(`b'{"a": "' + b'x' * 8000000 + b'"}'`)).toMatchObject({
      output: { bytes: 8_000_009 },
    });
  });

  test("a script that reads nothing of a large input, and one that leaves a child with its pipes", async () => {
    expect(await call(action(sh("exit 0")), { text: "x".repeat(3_000_000) })).toMatchObject({ kind: "ok" });
    const began = performance.now();
    expect(await call(action(sh("sleep 30 & echo $!")))).toMatchObject({ kind: "ok" });
    expect(performance.now() - began).toBeLessThan(3_000);
  });

  test("a script that cannot be started was not started", async () => {
    const gone = action("#!/no/such/interpreter\n");
    expect(await call(gone)).toMatchObject({
      kind: "error",
      error: { code: "unavailable", started: false, retryable: true },
    });
    expect(gone.status().reason).toContain("/no/such/interpreter");
  });

  test("many at once, and a stop that waits for what is under way", async () => {
    // Twenty shells may take long on a busy machine.
    bench.ports.timing.drainMs = 30_000;
    const nap = action(sh("sleep 0.2; echo $HOLDFAST_INPUT_N"));
    const outcomes = Array.from({ length: 20 }, (_, n) => call(nap, { n }));
    await nap.stop();
    expect(await Promise.all(outcomes)).toMatchObject(Array.from({ length: 20 }, (_, n) => ({ output: n })));
    expect(await call(nap)).toMatchObject({ error: { started: false } });
    bench.ports.timing.drainMs = 300;
    const long = action(sh("sleep 60"));
    const cut = call(long);
    await until("its start", () => readdirSync(bench.workdir).length > 0);
    await long.stop();
    expect(await cut).toMatchObject({ kind: "unknown" });
  });
});

describe("a process that stays", () => {
  const lines: ScriptFixture = { entry: { mode: "lines" } };
  const python = (body: string, before = "") =>
    `#!/usr/bin/env python3
import json, os, sys, threading, time
${before}
def answer(id, data=None, error=None):
    m = {"id": id, "success": error is None}
    m["data" if error is None else "error"] = data if error is None else error
    print(json.dumps(m), flush=True)
for line in sys.stdin:
    r = json.loads(line)
${body.replace(/^/gm, "    ")}
`;

  test("a shell script answers line by line; anything else that it prints is its log", async () => {
    const echo = action(
      sh(
        `while read -r line; do
          id=$(echo "$line" | sed 's/^{"id":\\([0-9]*\\).*/\\1/')
          echo "not JSON"; echo '{"level": "info"}'
          echo "{\\"id\\": \\"$id\\", \\"success\\": true, \\"data\\": {\\"pid\\": $$}}"
        done`,
      ),
      lines,
    );
    const first = (await call(echo)) as { output: JsonObject };
    expect(first).toMatchObject({ kind: "ok", output: { pid: expect.any(Number) } });
    expect(await call(echo)).toEqual(first as never);
    expect(echo.status()).toMatchObject({ state: "running", restarts: 0 });
    await until("its log", () => messages().length >= 4);
    expect(messages().slice(0, 2)).toEqual(["not JSON", '{"level": "info"}']);
    expect(readdirSync(bench.workdir)).toHaveLength(1);
  });

  test("many at once, in any order; what it is told", async () => {
    const swap = action(
      python(`threading.Timer(0.2 - r["input"]["n"] * 0.01, answer, (r["id"], r)).start()`),
      lines,
    );
    const outcomes = await Promise.all(Array.from({ length: 20 }, (_, n) => call(swap, { n })));
    expect(outcomes).toMatchObject(Array.from({ length: 20 }, (_, n) => ({ output: { input: { n } } })));
    expect(outcomes[0]).toMatchObject({
      output: { action: "call", key: "run/step", run: "run", step: "step", attempt: 2 },
    });
  });

  test("an error answers one call", async () => {
    const fail = action(
      python(
        `answer(r["id"], error={"message": "no", "code": "denied", "started": False, "retryable": False})`,
      ),
      lines,
    );
    expect(await call(fail)).toEqual({
      kind: "error",
      error: { message: "no", code: "denied", started: false, retryable: false },
    });
    expect(fail.status().state).toBe("running");
  });

  test("a time-out asks first, and takes the process away when it does not answer", async () => {
    const heeds = action(
      python(
        `if r["action"] == "cancel": answer(r["id"], error={"message": "ended early", "started": False})`,
      ),
      lines,
    );
    expect(await call(heeds, {}, 200)).toMatchObject({ kind: "error", error: { message: "ended early" } });
    expect(heeds.status()).toMatchObject({ state: "running", restarts: 0 });
    const deaf = action(python("pass"), lines);
    expect(await call(deaf, {}, 200)).toMatchObject({ kind: "unknown", error: { code: "timed_out" } });
    await until("its end", () => deaf.status().state === "stopped");
    expect(deaf.status()).toMatchObject({ restarts: 1 });
    expect(deaf.status().reason).toContain("within 200 ms");
  });

  test("its death makes calls unknown; the next call starts another; five are quarantine", async () => {
    const die = action(
      python(`os.kill(os.getpid(), 9) if r["input"].get("die") else answer(r["id"], os.getpid())`),
      lines,
    );
    const first = await call(die);
    expect(await call(die, { die: true })).toMatchObject({ kind: "unknown", error: { code: "crashed" } });
    expect(await call(die)).not.toEqual(first);
    for (let n = 0; n < 4; n++) await call(die, { die: true });
    expect(die.status().state).toBe("quarantined");
    expect(await call(die)).toMatchObject({ error: { code: "quarantined" } });
  });

  test("hostile lines are its log and nothing else", async () => {
    const bad = action(
      python(
        `w = sys.stdout.buffer.write
w(b'{"id": 1, "x": "' + b"y" * 9000000 + b'"}\\n')
w(b'\\xff\\xfe{"id": 1}\\n')
w(b'{"id":1,"success":true,"data":' + b'[' * 100000 + b']' * 100000 + b'}\\n')
w(b'{"id":1,"success":"yes"}\\n{"id":{},"success":true}\\n{"id":1e99,"success":true}\\n[1]\\nnull\\n\\n')
w(b'{"id":77,"success":true}\\n{"__proto__":{"success":true,"id":1}}\\n')
sys.stdout.flush()
answer(r["id"], {"__proto__": {"polluted": True}})`,
      ),
      lines,
    );
    expect(await call(bad)).toMatchObject({ kind: "ok" });
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
    expect(messages().find((text) => String(text).endsWith("bytes, cut)"))).toBeDefined();
    expect(bad.status().state).toBe("running");
  });

  test("what it logs in a minute is limited", async () => {
    const loud = action(python(`print("x" * 4000, flush=True); time.sleep(60)`), {
      ...lines,
      resources: { output: 2048 },
    });
    expect(await call(loud)).toMatchObject({ kind: "unknown", error: { code: "output" } });
  });

  test("answers that nobody waits for count as what it prints", async () => {
    const loud = action(python(`while True: print('{"id": 99, "success": true}')`), {
      ...lines,
      resources: { output: 10_000 },
    });
    expect(await call(loud)).toMatchObject({ kind: "unknown", error: { code: "output" } });
  });

  test("it ends when it is idle, and by the end of its stdin", async () => {
    const file = join(bench.dir, "ended");
    const idle = action(`${python(`answer(r["id"])`)}\nopen(${JSON.stringify(file)}, "w")\n`, lines, 100);
    await call(idle);
    await until("its end", () => existsSync(file));
    await until("its folder", () => readdirSync(bench.workdir).length === 0);
    expect(idle.status()).toMatchObject({ state: "stopped", restarts: 0 });
    expect(await call(idle)).toMatchObject({ kind: "ok" });
  });
});

/** Zombies that nobody has reaped do not live. */
function alive(pid: string): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}
