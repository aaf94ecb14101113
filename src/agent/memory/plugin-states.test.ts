import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemIds } from "../../core/ids.ts";
import { createLogger, silentLogger } from "../../core/logger.ts";
import type { Json } from "../../model/json.ts";
import { parseMemoryRequest } from "../../model/memory-request.ts";
import { type InProcessStore, openInProcessStore } from "../../testing/in-process-store.ts";
import { VirtualClock } from "../../testing/virtual-clock.ts";
import { Memory } from "./memory.ts";
import { PluginStates } from "./plugin-states.ts";
import { MemorySession } from "./session.ts";

const MINUTE = 60_000;
let folder: string;
let clock: VirtualClock;
let store: InProcessStore;
let memory: Memory;
let states: PluginStates;
let lines: string[];

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-states-"));
  clock = new VirtualClock();
  await open();
});
afterEach(async () => {
  memory.stop();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

async function open(): Promise<void> {
  const path = join(folder, "agent.db");
  store = await openInProcessStore({ path, ids: systemIds(), wall: () => clock.wall() });
  memory = new Memory({ store, clock, log: silentLogger() });
  await memory.start();
  lines = [];
  const sink = { write: (line: string) => void lines.push(line) };
  const log = createLogger({ sinks: [sink], level: () => "debug", wall: () => clock.wall() }, "states");
  states = new PluginStates({ memory, clock, log });
}

const save = (part: string, value: Json, force = false, everyMs = MINUTE) =>
  states.save(part, value, { everyMs, force });
/** What is durable, whatever is still to be written. */
const durable = async (part: string) => (await memory.get(`holdfast/${part}`, "state"))?.value;
const versionOf = async (part: string) => (await memory.get(`holdfast/${part}`, "state"))?.version;

test("many saves are one write in a minute, of the last value; between them a crash goes back at most so far", async () => {
  await save("trigger/a", { n: 0 });
  await clock.advance(0);
  expect(await durable("trigger/a")).toEqual({ n: 0 });
  const first = await versionOf("trigger/a");
  for (let n = 1; n <= 120; n++) {
    await save("trigger/a", { n });
    await clock.advance(1000);
    const kept = ((await durable("trigger/a")) as { n: number }).n;
    expect(n - kept).toBeLessThanOrEqual(60);
  }
  expect((await versionOf("trigger/a"))! - first!).toBe(2);
  // The last one is written too, though nothing comes after it.
  await clock.advance(MINUTE);
  expect(await durable("trigger/a")).toEqual({ n: 120 });
});

test("a forced one is durable when it is answered, and takes the place of one that waits", async () => {
  await save("trigger/a", 1, true);
  await save("trigger/a", 2);
  expect(await durable("trigger/a")).toBe(1);
  await save("trigger/a", 3, true);
  expect(await durable("trigger/a")).toBe(3);
  const version = await versionOf("trigger/a");
  await clock.advance(10 * MINUTE);
  expect(await versionOf("trigger/a")).toBe(version!);
});

test("what is not written yet is loaded all the same, and is written as the agent stops", async () => {
  await save("output/a", 1, true);
  await save("output/a", 2);
  expect(await states.load("output/a")).toEqual({ exists: true, value: 2 });
  await states.stop();
  expect(await durable("output/a")).toBe(2);
});

test("each part has its own, which no plugin gets at by the memory", async () => {
  await save("trigger/a", 1, true);
  await save("output/a", 2, true);
  expect(await states.load("trigger/a")).toEqual({ exists: true, value: 1 });
  expect(await states.load("output/a")).toEqual({ exists: true, value: 2 });
  expect(await states.load("trigger/b")).toEqual({ exists: false, value: null });
  const client = { plugin: "p", namespace: "p", grant: { memory: ["*"], namespaces: ["*"] } };
  const nosy = new MemorySession(memory, { ...client, part: "trigger/b" }, states);
  const ask = (request: object) => nosy.ask(parseMemoryRequest(request));
  expect(await ask({ op: "load" })).toEqual({ exists: false, value: null });
  const theirs = { op: "get", key: "state", namespace: "holdfast/trigger/a" };
  await expect(ask(theirs)).rejects.toThrow("a namespace");
  const script = new MemorySession(memory, client, states);
  await expect(script.ask({ op: "load" })).rejects.toThrow("state: true");
});

test("one that is damaged is told, and the plugin starts without it", async () => {
  await save("trigger/a", { n: 1 }, true);
  await store.close();
  const database = new Database(join(folder, "agent.db"));
  database.run("UPDATE memory SET value = '{\"n\":' WHERE namespace = 'holdfast/trigger/a'");
  database.close();
  await open();
  expect(await states.load("trigger/a")).toEqual({ exists: false, value: null });
  expect(lines.join("")).toContain("cannot be read: it starts without one");
  await save("trigger/a", { n: 2 }, true);
  expect(await states.load("trigger/a")).toEqual({ exists: true, value: { n: 2 } });
});

test("a write that fails is tried again; a forced one says so", async () => {
  const fail = () => store.order({ label: "memory.put", at: "before", with: "SQLITE_FULL" });
  fail();
  await save("trigger/a", 1);
  await clock.advance(0);
  expect(await durable("trigger/a")).toBeUndefined();
  expect(lines.join("")).toContain("could not be written");
  await clock.advance(MINUTE);
  expect(await durable("trigger/a")).toBe(1);
  fail();
  await expect(save("trigger/a", 2, true)).rejects.toThrow("full");
  expect(await states.load("trigger/a")).toEqual({ exists: true, value: 2 });
});

test("what is no JSON or too large is not taken", async () => {
  await expect(save("trigger/a", undefined as unknown as Json)).rejects.toThrow("is no JSON");
  await expect(save("trigger/a", "x".repeat(300_000))).rejects.toThrow("at most");
  expect(() => parseMemoryRequest({ op: "save", value: 1, everyMs: 10 })).toThrow("from 1000");
});
