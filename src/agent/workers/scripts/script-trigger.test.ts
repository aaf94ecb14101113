import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { HoldfastError } from "../../../core/errors.ts";
import type { ProposedEvent } from "../../../model/event.ts";
import type { Json, JsonObject } from "../../../model/json.ts";
import { type ScriptBench, scriptBench, type ScriptFixture } from "../../../testing/script-bench.ts";
import { steady, until } from "../../../testing/until.ts";
import { Supervisor } from "../supervisor.ts";
import { startScriptTrigger } from "./script-trigger.ts";

setDefaultTimeout(30_000);

let bench: ScriptBench;
const open: { stop(): Promise<void> }[] = [];
beforeEach(() => (bench = scriptBench()));
afterEach(async () => {
  for (const trigger of open.splice(0)) await trigger.stop();
  await until("no folders", () => readdirSync(bench.workdir).length === 0);
  bench.close();
});

const sh = (text: string) => `#!/bin/sh\n${text}\n`;
const python = (text: string) => `#!/usr/bin/env python3\nimport json, os, sys, time\n${text}\n`;

/** A supervised trigger over what a store would keep. */
function trigger(
  text: string,
  options: ScriptFixture & {
    given?: JsonObject;
    lost?: boolean;
    keep?: (events: ProposedEvent[]) => Promise<void>;
  } = {},
) {
  const { given = {}, lost = false, keep = async () => {}, ...fixture } = options;
  const made = bench.script(`watch-${open.length}`, text, { kind: "trigger", ...fixture });
  const kept: { events: ProposedEvent[]; checkpoint: Json | undefined; calls: number } = {
    events: [],
    checkpoint: undefined,
    calls: 0,
  };
  const { clock, random, log, timing } = bench.ports;
  const supervisor = new Supervisor({
    name: "watcher",
    plugin: made.plugin.manifest.name,
    kind: "trigger",
    clock,
    random,
    log,
    backoff: timing.backoff,
    start: (stopping) =>
      startScriptTrigger(
        {
          name: "watcher",
          settings: given,
          ...made,
          checkpoint: async () => kept.checkpoint,
          lost,
          async onEvents(events, checkpoint, turn) {
            kept.calls++;
            await keep(events);
            await turn;
            kept.events.push(...events);
            if (checkpoint !== undefined) kept.checkpoint = checkpoint;
          },
        },
        bench.ports,
        stopping,
      ),
  });
  open.push(supervisor);
  return {
    kept,
    supervisor,
    ended: () => until("its end", () => supervisor.status().state === "stopped", 15_000),
  };
}
const messages = () => bench.lines.map(({ message }) => message);

test("one whose checkpoint was lost is told so, until it has another", async () => {
  const text = `#!/bin/sh
echo "{\\"events\\": [{\\"type\\": \\"lost-$HOLDFAST_CHECKPOINT_LOST-$HOLDFAST_CHECKPOINT\\"}], \\"checkpoint\\": 7}"
[ -n "$HOLDFAST_CHECKPOINT" ] || exit 1
`;
  const { kept, ended } = trigger(text, { lost: true });
  await ended();
  expect(kept.events.map(({ type }) => type)).toEqual(["lost-1-", "lost--7"]);
});

describe("events", () => {
  test("a line of JSON is one; what else it prints is its log", async () => {
    const { kept, supervisor, ended } = trigger(
      sh(`echo starting; echo "warming up" >&2; echo '{"level": "info"}'
          echo '{"type": "disk.low", "subject": "/", "data": {"free": 3}, "severity": "warning", "other": 1}'
          printf '{"type": "last"}'`),
    );
    await ended();
    expect(kept.events).toEqual([
      { type: "disk.low", subject: "/", data: { free: 3 }, severity: "warning" },
      { type: "last" },
    ]);
    expect(messages().toSorted()).toEqual(["starting", "warming up", '{"level": "info"}'].toSorted());
    expect(bench.lines[0]).toMatchObject({ component: "watcher" });
    expect(supervisor.status()).toMatchObject({
      state: "stopped",
      reason: "it ended by itself",
      restarts: 0,
    });
  });

  test("settings with defaults are on stdin and in the environment", async () => {
    const { kept, ended } = trigger(
      python(
        `print(json.dumps({"type": "t", "data": [json.load(sys.stdin), os.environ["HOLDFAST_INPUT_EVERY"], os.environ["HOLDFAST_NAME"], os.environ.get("HOLDFAST_CHECKPOINT"), sorted(os.environ)]}))`,
      ),
      {
        given: { path: "/x" },
        settings: { type: "object", properties: { path: {}, every: { type: "integer", default: 5 } } },
      },
    );
    await ended();
    const [settings, every, name, checkpoint, names] = kept.events[0]!.data as Json[];
    expect([settings, every, name, checkpoint]).toEqual([{ path: "/x", every: 5 }, "5", "watcher", null]);
    expect((names as string[]).filter((each) => !/^HOLDFAST_|^LC_CTYPE$/.test(each))).toEqual([
      "HOME",
      "LANG",
      "PATH",
      "TMPDIR",
    ]);
  });

  test("a checkpoint commits with its events and comes back; a crash in the middle loses and repeats none", async () => {
    const { kept, supervisor } = trigger(
      python(`
n = json.loads(os.environ.get("HOLDFAST_CHECKPOINT", "0"))
while n < 3000:
    ids = list(range(n + 1, n + 101))
    n += 100
    print(json.dumps({"events": [{"type": "n", "id": str(i)} for i in ids], "checkpoint": n}), flush=True)
    if n % 1000 == 0 and n < 3000: os.kill(os.getpid(), 9)
`),
    );
    await until("the end", () => supervisor.status().state === "stopped", 10_000);
    expect(kept.events.map(({ id }) => Number(id))).toEqual(Array.from({ length: 3000 }, (_, at) => at + 1));
    expect(kept.checkpoint).toBe(3000);
    expect(supervisor.status()).toMatchObject({ restarts: 2, reason: "it ended by itself" });
  });

  test("50,000 arrive once, in order and gathered", async () => {
    const { kept, ended } = trigger(
      python(`
for i in range(50000): print('{"type":"n","id":"%d"}' % i)`),
    );
    await ended();
    expect(kept.events).toHaveLength(50_000);
    expect(kept.events.every(({ id }, at) => Number(id) === at)).toBe(true);
    expect(kept.calls).toBeLessThan(1000);
  });

  test("with `plain` every line is one", async () => {
    const { kept, ended } = trigger(
      sh(`echo one; echo; echo '{"type": "x"}'; head -c 100000 /dev/zero | tr '\\0' y; echo`),
      { entry: { plain: true } },
    );
    await ended();
    expect(kept.events.slice(0, 2)).toEqual([
      { type: "line", data: { line: "one" } },
      { type: "line", data: { line: '{"type": "x"}' } },
    ]);
    expect(kept.events[2]).toEqual({ type: "line", data: { line: "y".repeat(64 * 1024), truncated: true } });
  });

  test("while nothing is committed the script waits", async () => {
    const gate = Promise.withResolvers<void>();
    const file = join(bench.dir, "printed");
    const { kept, ended } = trigger(
      python(`
for i in range(20000):
    print('{"type":"n","id":"%d","data":"%s"}' % (i, "x" * 1000), flush=True)
    if i % 10 == 0: open(${JSON.stringify(file)}, "w").write(str(i))`),
      { keep: () => gate.promise },
    );
    await until("its start", () => existsSync(file));
    const printed = await steady(() => Number(readFileSync(file, "utf8") || 0), 400);
    expect(printed).toBeLessThan(10_000);
    gate.resolve();
    await ended();
    expect(kept.events).toHaveLength(20_000);
  }, 20_000);
});

describe("what goes wrong", () => {
  test("something that is meant to be an event and is none ends it, after what came before was kept", async () => {
    for (const bad of [
      '{"type": "not valid"}',
      '{"events": [{"type": ""}], "checkpoint": 9}',
      '{"type": 5}',
    ]) {
      const { kept, supervisor } = trigger(
        sh(`echo '{"type": "good"}'; echo '${bad}'; echo '{"type": "late"}'; sleep 60`),
      );
      await until("quarantine", () => supervisor.status().state === "quarantined", 15_000);
      expect(supervisor.status().reason).toContain("the script printed an invalid event: `type`");
      expect(kept.events).toEqual(Array.from({ length: 5 }, () => ({ type: "good" })));
      expect(kept.checkpoint).toBeUndefined();
    }
  });

  test("an exit code or a signal is a crash with the end of stderr", async () => {
    const fails = trigger(sh("echo no luck >&2; exit 4")).supervisor;
    await until("quarantine", () => fails.status().state === "quarantined", 15_000);
    expect(fails.status().reason).toBe("5 crashes within 60 s; the last: exited(4): no luck");
    const dies = trigger(sh("kill -SEGV $$")).supervisor;
    await until("quarantine", () => dies.status().state === "quarantined", 15_000);
    expect(dies.status().reason).toContain("crashed(SIGSEGV)");
  });

  test("a refused emit ends it; it counts only when the event is at fault", async () => {
    let fails = 0;
    const { kept, supervisor } = trigger(
      python(`
n = json.loads(os.environ.get("HOLDFAST_CHECKPOINT", "0"))
while n < 50:
    n += 1
    print(json.dumps({"events": [{"type": "n", "id": str(n)}], "checkpoint": n}), flush=True)
time.sleep(60)`),
      {
        async keep() {
          if (++fails <= 6) throw new HoldfastError("failed", "the disk is full");
        },
      },
    );
    await until("all", () => kept.checkpoint === 50, 10_000);
    expect(kept.events.map(({ id }) => Number(id))).toEqual(Array.from({ length: 50 }, (_, at) => at + 1));
    expect(supervisor.status()).toMatchObject({ state: "running" });
    expect(supervisor.status().reason).toBe("an emit was refused: the disk is full");
  });

  test("hostile lines are its log; a checkpoint that is too large is a fault", async () => {
    const { kept, supervisor, ended } = trigger(
      python(`
w = sys.stdout.buffer.write
w(b'{"type":"x","data":"' + b'y' * 9000000 + b'"}\\n')
w(b'\\xff\\xfe\\n{"type":"utf8","data":"\\xff"}\\n')
w(b'{"type":"x","data":' + b'[' * 100000 + b']' * 100000 + b'}\\n')
w(b'null\\n[]\\n{}\\n{"__proto__":{"type":"x"}}\\n{"events":5}\\n')
w(b'{"type":"proto","data":{"__proto__":{"polluted":1}},"constructor":1}\\n')`),
    );
    await ended();
    expect(kept.events.map(({ type }) => type)).toEqual(["utf8", "proto"]);
    expect(({} as { polluted?: number }).polluted).toBeUndefined();
    expect(Object.keys(kept.events[1]!)).toEqual(["type", "data"]);
    expect(messages()).toContainEqual(expect.stringMatching(/^\{"type":"x".*… \(9000022 bytes, cut\)$/));
    const large = trigger(
      python(`print(json.dumps({"events": [], "checkpoint": "x" * 70000}), flush=True)`),
    ).supervisor;
    await until("quarantine", () => large.status().state === "quarantined", 15_000);
    expect(large.status().reason).toContain("a checkpoint of more than 65536 bytes");
    expect(supervisor.status().restarts).toBe(0);
  });

  test("what it logs in a minute is limited; events are not counted", async () => {
    const { kept, supervisor } = trigger(
      python(`
for i in range(200): print('{"type":"n","data":"%s"}' % ("x" * 1000))
sys.stdout.flush()
sys.stderr.write("x" * 5000 + "\\n"); sys.stderr.flush(); time.sleep(60)`),
      { resources: { output: 4096 } },
    );
    await until("quarantine", () => supervisor.status().state === "quarantined", 15_000);
    expect(supervisor.status().reason).toContain("output: more than 4096 bytes were printed");
    expect(kept.events.length).toBeGreaterThanOrEqual(200);
  });

  test("empty lines and lines that say nothing are counted", async () => {
    for (const line of ["", '{"events": []}', '{"events": {}}']) {
      const { supervisor } = trigger(python(`while True: print(${JSON.stringify(line)})`), {
        resources: { output: 10_000 },
      });
      await until("quarantine", () => supervisor.status().state === "quarantined", 15_000);
      expect(supervisor.status().reason).toContain("output: more than 10000 bytes");
    }
  });

  test("a stop ends it with everything that it started, also when it will not hear", async () => {
    const file = join(bench.dir, "pids");
    writeFileSync(file, "");
    const polite = trigger(
      sh(`echo $$ >> ${file}; sleep 60 & echo $! >> ${file}; while :; do sleep 1; done`),
    );
    const deaf = trigger(
      sh(`trap '' TERM; echo $$ >> ${file}; (trap '' TERM; echo 1 >> ${file}; sleep 60); wait`),
    );
    await until("their start", () => readFileSync(file, "utf8").trim().split("\n").length === 4);
    let began = performance.now();
    await polite.supervisor.stop();
    expect(performance.now() - began).toBeLessThan(400);
    began = performance.now();
    await deaf.supervisor.stop();
    expect(performance.now() - began).toBeWithin(500, 3_000);
    for (const pid of readFileSync(file, "utf8").trim().split("\n")) {
      if (pid !== "1") await until(`the end of ${pid}`, () => !alive(pid));
    }
    expect(polite.supervisor.status().state).toBe("stopped");
  });
});

function alive(pid: string): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}
