import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { noAdditions } from "../../../testing/no-additions.ts";
import { type ScriptBench, scriptBench } from "../../../testing/script-bench.ts";
import { until } from "../../../testing/until.ts";
import type { ScriptCalls, ScriptPorts } from "./ports.ts";
import { ScriptAction } from "./script-action.ts";

setDefaultTimeout(30_000);

let bench: ScriptBench;
beforeEach(() => (bench = scriptBench()));
afterEach(() => bench.close());

/** Answers each thing that a script says on its channel with the same in capitals. */
function shouting() {
  const seen: { who: unknown[]; closed: number; adopted: number } = { who: [], closed: 0, adopted: 0 };
  const calls: ScriptCalls = {
    open(who) {
      seen.who.push({ plugin: who.plugin, part: who.part });
      return {
        env: { HOLDFAST_CALL_FD: "4", HOLDFAST_CALL_TOKEN: "t0ken" },
        attach(fd) {
          seen.adopted++;
          const socket = {
            data: (from: Bun.Socket, chunk: Buffer) => void from.write(chunk.toString().toUpperCase()),
          };
          void Bun.connect({ fd, socket } as unknown as Bun.TCPSocketConnectOptions<undefined>);
        },
        close: () => void seen.closed++,
      };
    },
  };
  return { seen, calls };
}

function call(text: string, ports: Partial<ScriptPorts>) {
  const action = new ScriptAction(
    { ...bench.script("talk", `#!/bin/sh\n${text}\n`), idleMs: 60_000 },
    { ...bench.ports, ...ports },
  );
  const about = {
    input: {},
    key: "r/s",
    run: "r",
    step: "s",
    attempt: 1,
    timeoutMs: 5_000,
    add: noAdditions,
  };
  return action.call(about, new AbortController().signal);
}

test("a script can talk to the agent on the descriptor that its environment names", async () => {
  const { seen, calls } = shouting();
  const outcome = await call(
    'echo "$HOLDFAST_CALL_TOKEN" >&"$HOLDFAST_CALL_FD"; read -r answer <&4; echo "$answer"',
    { calls },
  );
  expect(outcome).toEqual({ kind: "ok", output: { raw_output: "T0KEN\n" } });
  await until("the end of the session", () => seen.closed === 1);
  expect(seen).toEqual({ who: [{ plugin: "talk", part: "talk" }], closed: 1, adopted: 1 });
});

test("a session of a script that could not be started is closed", async () => {
  const { seen, calls } = shouting();
  const launcher = { launch: () => Promise.reject(new Error("sandbox: landlock: EPERM")) };
  expect(await call("true", { calls, launcher })).toMatchObject({
    error: { code: "unavailable", message: "sandbox: landlock: EPERM", started: false },
  });
  expect(seen).toMatchObject({ closed: 1, adopted: 0 });
});

test("without the port the channel is closed, and the environment does not name it", async () => {
  const outcome = await call('echo "fd=$HOLDFAST_CALL_FD"; [ -e /proc/self/fd/4 ] || echo closed', {});
  expect(outcome).toEqual({ kind: "ok", output: { raw_output: "fd=\nclosed\n" } });
});

test("the verdict of the launcher is what the attempt says", async () => {
  const peak = { memoryBytes: 140_000_000, cpuMs: 10, processes: 1, diskBytes: 0 };
  const verdict = { cause: "memory" as const, text: "memory: 131 MB used, 128 MB allowed", peak };
  const launcher: ScriptPorts["launcher"] = {
    async launch(options) {
      const real = await bench.ports.launcher.launch(options);
      return { ...real, exited: real.exited.then((exit) => ({ ...exit, verdict })) };
    },
  };
  expect(await call("kill -9 $$", { launcher })).toEqual({
    kind: "unknown",
    error: {
      code: "memory",
      message: "talk: memory: 131 MB used, 128 MB allowed",
      retryable: true,
      started: true,
    },
  });
  expect(await call("echo killed >&2; exit 137", { launcher })).toMatchObject({
    kind: "error",
    error: {
      code: "memory",
      message: "talk ended with exit code 137 (memory: 131 MB used, 128 MB allowed): killed",
      started: true,
    },
  });
  expect(await call("exit 0", { launcher })).toMatchObject({ kind: "ok" });
});
