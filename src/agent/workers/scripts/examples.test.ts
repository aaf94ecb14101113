import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ProposedEvent } from "../../../model/event.ts";
import { bareGrant } from "../../../model/grant.ts";
import type { Json, JsonObject } from "../../../model/json.ts";
import { DEFAULT_RESOURCES } from "../../../model/permissions.ts";
import { noAdditions } from "../../../testing/no-additions.ts";
import { type ScriptBench, scriptBench } from "../../../testing/script-bench.ts";
import { until } from "../../../testing/until.ts";
import { readDocument } from "../../config/document.ts";
import { readScriptManifest } from "../../plugins/script-manifest.ts";
import { ScriptAction } from "./script-action.ts";
import { startScriptTrigger } from "./script-trigger.ts";

setDefaultTimeout(30_000);

const EXAMPLES = join(import.meta.dir, "../../../../examples");
let bench: ScriptBench;
const open: { stop(): Promise<void> }[] = [];
beforeEach(() => (bench = scriptBench()));
afterEach(async () => {
  for (const part of open.splice(0)) await part.stop();
  await until("no folders", () => readdirSync(bench.workdir).length === 0);
  bench.close();
});

async function example(name: string) {
  const { manifest, script } = await readScriptManifest(join(EXAMPLES, name), readDocument);
  return { plugin: { manifest, entry: { script } }, script, grant: bareGrant(DEFAULT_RESOURCES) };
}

async function action(name: string) {
  const made = new ScriptAction({ ...(await example(name)), idleMs: 60_000 }, bench.ports);
  open.push(made);
  const ids = { key: "r/s", run: "r", step: "s", attempt: 1, timeoutMs: 5_000, add: noAdditions };
  return (input: JsonObject) => made.call({ input, ...ids }, new AbortController().signal);
}

async function trigger(name: string, settings: JsonObject, checkpoint?: Json) {
  const kept: { events: ProposedEvent[]; checkpoint: Json | undefined } = { events: [], checkpoint };
  const part = await startScriptTrigger(
    {
      name: "example",
      settings,
      ...(await example(name)),
      checkpoint: async () => kept.checkpoint,
      async onEvents(events, checkpoint, turn) {
        await turn;
        kept.events.push(...events);
        kept.checkpoint = checkpoint ?? kept.checkpoint;
      },
    },
    bench.ports,
    new AbortController().signal,
  );
  open.push(part);
  return kept;
}

test("each is short, and its manifest is right", async () => {
  const folders = readdirSync(EXAMPLES).filter((name) => name !== "README.md");
  expect(folders).toHaveLength(4);
  for (const folder of folders) {
    const { plugin, script } = await example(folder);
    expect(plugin.manifest.name).toBe(folder);
    expect(readFileSync(script.entry, "utf8").trim().split("\n").length).toBeLessThanOrEqual(25);
    expect(readFileSync(join(EXAMPLES, "README.md"), "utf8")).toContain(`\`${folder}\``);
  }
});

test("file-present: a trigger in shell", async () => {
  const path = join(bench.dir, "here");
  const kept = await trigger("file-present", { path, every: 1 });
  await until("the first look", () => kept.events.length === 1);
  expect(kept).toEqual({
    events: [{ type: "file.absent", data: { was: "unknown" } }],
    checkpoint: "absent",
  });
  writeFileSync(path, "");
  await until("the second", () => kept.events.length === 2);
  expect(kept.events[1]).toEqual({ type: "file.present", data: { was: "absent" } });
  const after = await trigger("file-present", { path, every: 1 }, kept.checkpoint);
  rmSync(path);
  await until("the third", () => after.events.length === 1);
  expect(after.events[0]).toEqual({ type: "file.absent", data: { was: "present" } });
});

test("rotate-file: an action in shell", async () => {
  const rotate = await action("rotate-file");
  const path = join(bench.dir, "a.log");
  expect(await rotate({ path })).toMatchObject({
    kind: "error",
    error: { message: `rotate-file ended with exit code 1: there is no file ${path}` },
  });
  for (const text of ["1", "2", "3"]) {
    writeFileSync(path, text);
    expect(await rotate({ path, keep: 2 })).toEqual({
      kind: "ok",
      output: { raw_output: `moved ${path} to ${path}.1\n` },
    });
  }
  expect(readFileSync(`${path}.1`, "utf8") + readFileSync(`${path}.2`, "utf8")).toBe("32");
  expect(existsSync(path)).toBe(false);
});

test("log-pattern: a trigger in Python", async () => {
  const path = join(bench.dir, "a.log");
  writeFileSync(path, "fine\nan error\nfine\nhalf an err");
  const settings = { path, pattern: "err(or)?", every: 0.05 };
  const kept = await trigger("log-pattern", settings);
  await until("the first", () => kept.events.length === 1);
  expect(kept).toEqual({
    events: [{ type: "log.match", subject: path, data: { line: "an error" } }],
    checkpoint: 19,
  });
  appendFileSync(path, "or\n");
  await until("the second", () => kept.events.length === 2);
  expect(kept.events[1]?.data).toEqual({ line: "half an error" });
});

test("disk-free: an action in Python that stays", async () => {
  const free = await action("disk-free");
  expect(await free({})).toMatchObject({
    kind: "ok",
    output: { free: expect.any(Number), share: expect.any(Number) },
  });
  expect(await free({ path: "/nowhere" })).toMatchObject({ kind: "error", error: { started: false } });
  expect(await free({ paht: "/" })).toMatchObject({ error: { code: "invalid" } });
});
