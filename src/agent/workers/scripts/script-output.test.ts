import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { HoldfastError } from "../../../core/errors.ts";
import type { CloudEvent } from "../../../model/event.ts";
import { type ScriptBench, scriptBench, type ScriptFixture } from "../../../testing/script-bench.ts";
import { until } from "../../../testing/until.ts";
import type { OutputIncarnation } from "../output-part.ts";
import { startScriptOutput } from "./script-output.ts";

setDefaultTimeout(30_000);

let bench: ScriptBench;
const open: OutputIncarnation[] = [];
beforeEach(() => (bench = scriptBench({ writeMs: 300 })));
afterEach(async () => {
  for (const output of open.splice(0)) await output.stop();
  await until("no folders", () => readdirSync(bench.workdir).length === 0);
  bench.close();
});

async function output(text: string, options: ScriptFixture = {}): Promise<OutputIncarnation> {
  const made = bench.script(`keep-${open.length}`, text, { kind: "output", ...options });
  const started = await startScriptOutput(
    { name: "keeper", settings: { file: join(bench.dir, "kept") }, ...made },
    bench.ports,
    new AbortController().signal,
  );
  open.push(started);
  return started;
}
const sh = (text: string) => `#!/bin/sh\n${text}\n`;
const kept = () => readFileSync(join(bench.dir, "kept"), "utf8");
const events = (...ids: string[]): CloudEvent[] =>
  ids.map((id) => ({ specversion: "1.0", id, source: "urn:x", type: "t", time: "2026-01-01T00:00:00Z" }));
const state = async (ended: Promise<unknown>) => await Promise.race([ended, Promise.resolve("runs")]);

test("once: a batch is lines on stdin, exit 0 takes it", async () => {
  const { write, ended } = await output(sh('cat >> "$HOLDFAST_INPUT_FILE"'));
  await write(events("1", "2"));
  await write(events("3"));
  expect(
    kept()
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).id),
  ).toEqual(["1", "2", "3"]);
  expect(await state(ended)).toBe("runs");
});

test("once: another exit code leaves the batch with its reason, and the output runs on", async () => {
  const { write, ended } = await output(sh("echo no room >&2; exit 1"));
  expect(write(events("1"))).rejects.toThrow("output keeper ended with exit code 1: no room");
  const told = await output(sh(`echo '{"error": {"message": "bad event", "retryable": false}}'; exit 1`));
  const error = await told.write(events("1")).catch((error: unknown) => error);
  expect(error).toMatchObject({ message: "output bad event", retryable: false });
  expect(await state(ended)).toBe("runs");
});

test("an error may say how far the batch came", async () => {
  const error = `{"message": "full", "retryable": false, "taken": 1, "rejected": [{"index": 2, "reason": "odd"}]}`;
  const partial = { taken: 1, rejected: [{ index: 2, reason: "odd" }] };
  const once = await output(sh(`cat > /dev/null; echo '{"error": ${error}}'; exit 1`));
  const lines = await output(sh(`read -r line; echo '{"id": 1, "success": false, "error": ${error}}'; cat`), {
    entry: { mode: "lines" },
  });
  for (const { write } of [once, lines]) {
    const thrown = (await write(events("1", "2", "3")).catch((error: unknown) => error)) as HoldfastError;
    expect(thrown.message).toContain("full");
    expect(thrown.retryable).toBe(false);
    expect(thrown.details).toEqual({ code: "failed", partial });
  }
});

test("once: an end by a signal or the time-out ends this life", async () => {
  const dies = await output(sh("kill -9 $$"));
  expect(dies.write(events("1"))).rejects.toThrow("crashed(SIGKILL)");
  expect(await dies.ended).toMatchObject({ clean: false, counts: true });
  const hangs = await output(sh("sleep 60"));
  expect(hangs.write(events("1"))).rejects.toThrow("did not take a batch within 300 ms");
  expect(await hangs.ended).toMatchObject({ clean: false });
});

test("lines: one process takes all batches", async () => {
  const { write } = await output(
    `#!/usr/bin/env python3
import json, os, sys
for line in sys.stdin:
    r = json.loads(line)
    ids = [e["id"] for e in r["events"]]
    ok = "bad" not in ids
    if ok: open(os.environ["HOLDFAST_INPUT_FILE"], "a").write("%s %d\\n" % (",".join(ids), os.getpid()))
    print(json.dumps({"id": r["id"], "success": ok, "error": None if ok else "bad event"}), flush=True)
open(os.environ["HOLDFAST_INPUT_FILE"] + ".end", "w")
`,
    { entry: { mode: "lines" } },
  );
  await Promise.all([write(events("1", "2")), write(events("3"))]);
  expect(write(events("bad"))).rejects.toThrow("output keeper: bad event");
  await write(events("4"));
  const lines = kept()
    .trim()
    .split("\n")
    .map((line) => line.split(" "));
  expect(lines.map(([ids]) => ids)).toEqual(["1,2", "3", "4"]);
  expect(new Set(lines.map(([, pid]) => pid)).size).toBe(1);
  await open[0]!.stop();
  expect(existsSync(join(bench.dir, "kept.end"))).toBe(true);
});

test("lines: the death of the process fails what was under way, and all that comes after", async () => {
  const { write, ended } = await output(sh("read line; kill -9 $$"), { entry: { mode: "lines" } });
  expect(write(events("1"))).rejects.toThrow("crashed(SIGKILL)");
  expect(await ended).toMatchObject({ clean: false, counts: true });
  expect(write(events("2"))).rejects.toThrow("crashed(SIGKILL)");
});

test("lines: one that does not answer is taken away", async () => {
  const { write, ended } = await output(sh("cat > /dev/null"), { entry: { mode: "lines" } });
  expect(write(events("1"))).rejects.toThrow("did not take a batch within 300 ms");
  expect(await ended).toMatchObject({ clean: false });
});
