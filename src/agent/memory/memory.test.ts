import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemIds } from "../../core/ids.ts";
import { silentLogger } from "../../core/logger.ts";
import type { JsonObject } from "../../model/json.ts";
import { type MemoryRequest, parseMemoryRequest } from "../../model/memory-request.ts";
import { type InProcessStore, openInProcessStore } from "../../testing/in-process-store.ts";
import { settled, VirtualClock } from "../../testing/virtual-clock.ts";
import { HOLD_MS } from "./checkout-queue.ts";
import { Memory } from "./memory.ts";
import { MemorySession } from "./session.ts";

let folder: string;
let clock: VirtualClock;
let store: InProcessStore;
let memory: Memory;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-memory-"));
  clock = new VirtualClock();
  store = await openInProcessStore({
    path: join(folder, "agent.db"),
    ids: systemIds(),
    wall: () => clock.wall(),
  });
  memory = new Memory({ store, clock, log: silentLogger() });
  await memory.start();
});
afterEach(async () => {
  memory.stop();
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const session = (more: object = {}) =>
  new MemorySession(memory, {
    ...{ plugin: "counter", namespace: "web", grant: { memory: ["*"], namespaces: [] } },
    ...more,
  });
const ask = (of: MemorySession, request: object) =>
  of.ask(parseMemoryRequest({ key: "count", ...request })) as Promise<JsonObject>;
const code = (promise: Promise<unknown>) =>
  promise.then(
    () => "done",
    (error: { code: string }) => error.code,
  );
/** What it has come to once everything has happened that can. */
async function now<T>(promise: Promise<T>): Promise<T | "waits"> {
  await settled();
  return await Promise.race([promise, settled().then(() => "waits" as const)]);
}

describe("checkouts", () => {
  test("one after the other: the next gets what the one before has left", async () => {
    const [a, b] = [session(), session()];
    const first = await ask(a, { op: "checkout" });
    expect(first).toEqual({ token: first.token!, exists: false, value: null });
    const second = ask(b, { op: "checkout" });
    expect(await now(second)).toBe("waits");
    // Nobody who only reads waits.
    expect(await ask(b, { op: "get" })).toEqual({ exists: false, value: null });
    await ask(a, { op: "update", token: first.token, value: { n: 1 } });
    expect(await second).toMatchObject({ exists: true, value: { n: 1 } });
    // Once updated, a token is worth nothing.
    expect(await code(ask(a, { op: "update", token: first.token, value: 2 }))).toBe("expired");
  });

  test("alone, a holder may take its time; while others wait, two seconds from then", async () => {
    const [a, b] = [session(), session()];
    const { token } = await ask(a, { op: "checkout" });
    await clock.advance(60_000);
    const second = ask(b, { op: "checkout", waitMs: 5000 });
    await clock.advance(HOLD_MS - 1);
    expect(await now(second)).toBe("waits");
    await clock.advance(1);
    expect(await second).toMatchObject({ exists: false });
    expect(await code(ask(a, { op: "update", token, value: "late" }))).toBe("expired");
    expect(await ask(a, { op: "get" })).toMatchObject({ exists: false });
    await ask(b, { op: "update", token: ((await second) as JsonObject).token, value: "in time" });
    expect(await ask(a, { op: "get" })).toEqual({ exists: true, value: "in time" });
  });

  test("who waits too long is told, and then nobody hurries the holder", async () => {
    const [a, b] = [session(), session()];
    const { token } = await ask(a, { op: "checkout" });
    const second = code(ask(b, { op: "checkout", waitMs: 1000 }));
    await clock.advance(1000);
    expect(await second).toBe("busy");
    await clock.advance(60_000);
    await ask(a, { op: "update", token, value: 1 });
  });

  test("given back unchanged, or by the end of its holder, the next one has it", async () => {
    const [a, b, c] = [session(), session(), session()];
    const { token } = await ask(a, { op: "checkout" });
    const second = ask(b, { op: "checkout" });
    const third = ask(c, { op: "checkout" });
    expect(await ask(a, { op: "checkin", token })).toEqual({ held: true });
    expect(await ask(a, { op: "checkin", token })).toEqual({ held: false });
    expect(await second).toMatchObject({ exists: false });
    b.close();
    expect(await third).toMatchObject({ exists: false });
  });

  test("one that waits and goes leaves the line", async () => {
    const [a, b, c] = [session(), session(), session()];
    const { token } = await ask(a, { op: "checkout" });
    const second = code(ask(b, { op: "checkout" }));
    const third = ask(c, { op: "checkout" });
    b.close();
    expect(await second).toBe("cancelled");
    await ask(a, { op: "update", token, value: 1 });
    expect(await third).toMatchObject({ value: 1 });
  });

  test("a plain set or delete wins, and the holder is told", async () => {
    const [a, b] = [session(), session()];
    for (const request of [{ op: "set", value: 5 }, { op: "delete" }]) {
      const { token } = await ask(a, { op: "checkout" });
      const next = ask(b, { op: "checkout" });
      await ask(b, request);
      expect(await code(ask(a, { op: "update", token, value: "late" }))).toBe("expired");
      const taken = (await next) as JsonObject;
      expect(taken.value).toBe(request.op === "set" ? 5 : null);
      await ask(b, { op: "checkin", token: taken.token });
    }
  });

  test("the token of another is worth nothing", async () => {
    const [a, b] = [session(), session()];
    const { token } = await ask(a, { op: "checkout" });
    expect(await code(ask(b, { op: "update", token, value: 1 }))).toBe("expired");
    expect(await code(ask(a, { op: "update", token, key: "other", value: 1 }))).toBe("expired");
    expect(await ask(b, { op: "checkin", token })).toEqual({ held: false });
  });

  test("what the store refuses frees the key", async () => {
    const [a, b] = [session(), session()];
    store.order({ label: "memory_checkouts.put", at: "before", with: "SQLITE_IOERR_WRITE" });
    const first = code(ask(a, { op: "checkout" }));
    const second = ask(b, { op: "checkout" });
    expect(await first).toBe("failed");
    expect(await second).toMatchObject({ exists: false });
  });
});

describe("what one may do", () => {
  test("keys and namespaces are those that were granted", async () => {
    await ask(session({ namespace: "shared" }), { op: "set", key: "front.count", value: 1 });
    const own = session({ grant: { memory: ["front.*"], namespaces: ["sha*"] } });
    const get = (request: object) => code(ask(own, { op: "get", ...request }));
    expect(await get({ key: "front.count" })).toBe("done");
    expect(await get({ key: "back" })).toBe("denied");
    expect(await ask(own, { op: "get", key: "front.count" })).toEqual({ exists: false, value: null });
    expect(await ask(own, { op: "get", key: "front.count", namespace: "shared" })).toMatchObject({
      value: 1,
    });
    expect(await get({ key: "front.count", namespace: "other" })).toBe("denied");
    expect(await get({ key: "front.count", namespace: "holdfast" })).toBe("invalid");
    expect(await code(ask(session({ grant: { memory: [], namespaces: [] } }), { op: "get" }))).toBe("denied");
  });

  test("a list holds what may be read, a page at a time", async () => {
    const all = session();
    for (const key of ["front.a", "front.b", "back"]) await ask(all, { op: "set", key, value: 1 });
    expect(await ask(all, { op: "list" })).toEqual({ keys: ["back", "front.a", "front.b"], next: null });
    expect(await ask(all, { op: "list", prefix: "front.", after: "front.a" })).toEqual({
      keys: ["front.b"],
      next: null,
    });
    const some = session({ grant: { memory: ["b*"], namespaces: [] } });
    expect(await ask(some, { op: "list" })).toEqual({ keys: ["back"], next: null });
  });

  test("bad keys and values are refused with a reason", async () => {
    const all = session();
    for (const key of ["", "a b", "ä", "../x", "x".repeat(257)])
      expect(await code(all.ask({ op: "get", key })), key).toBe("invalid");
    expect(await code(ask(all, { op: "set", value: "x".repeat(256 * 1024) }))).toBe("too_large");
    for (const request of [
      ...[null, [], {}, { op: "steal" }, { op: "get" }, { op: "get", key: 7 }, { op: "set", key: "a" }],
      ...[
        { op: "update", key: "a", value: 1, token: "1" },
        { op: "set", key: "a", value: 1, ttlMs: -1 },
      ],
      { op: "checkout", key: "a", waitMs: "long" },
    ])
      expect(() => parseMemoryRequest(request), JSON.stringify(request)).toThrow();
  });

  test("one worker may ask for so much at once", async () => {
    const [a, b] = [session(), session()];
    await ask(a, { op: "checkout" });
    const asked = Array.from({ length: 70 }, () =>
      code(b.ask({ op: "checkout", key: "count", waitMs: 100 })),
    );
    await clock.advance(100);
    expect((await Promise.all(asked)).every((each) => each === "busy")).toBe(true);
    b.close();
  });
});

test("a value with a time to live is gone by the trusted time, whatever the wall says", async () => {
  const of = session();
  await memory.watch("web");
  await ask(of, { op: "set", value: 1, ttlMs: 10_000 });
  clock.jumpWall(3_600_000);
  expect(await ask(of, { op: "get" })).toMatchObject({ value: 1 });
  expect(memory.snapshot.values("web").count).toBe(1n);
  await clock.advance(10_000);
  expect(await ask(of, { op: "get" })).toMatchObject({ exists: false });
  expect("count" in memory.snapshot.values("web")).toBe(false);
  await clock.advance(60_000);
  expect(await store.memoryOf("web")).toEqual([]);
});

test("expressions see what is committed, from the moment on that somebody wants them to", async () => {
  const of = session();
  const request: MemoryRequest = { op: "set", key: "count", value: { n: 1, f: 0.5 }, ttlMs: null };
  await of.ask(request);
  expect(memory.snapshot.values("web")).toEqual({});
  await memory.watch("web");
  expect(memory.snapshot.values("web")).toEqual({ count: { n: 1n, f: 0.5 } });
  const written = of.ask({ ...request, value: 2 });
  expect(memory.snapshot.values("web").count).toEqual({ n: 1n, f: 0.5 });
  await written;
  expect(memory.snapshot.values("web").count).toBe(2n);
  store.order({ label: "memory.put", at: "before", with: "SQLITE_IOERR_WRITE" });
  expect(await code(of.ask({ ...request, value: 3 }))).toBe("failed");
  expect(memory.snapshot.values("web").count).toBe(2n);
  await of.ask({ op: "delete", key: "count" });
  expect(memory.snapshot.values("web")).toEqual({});
  // What changes while a namespace is being read counts for more than what was read.
  await of.ask({ op: "set", key: "b", value: 1, ttlMs: null, namespace: "web" });
  const other = new Memory({ store, clock, log: silentLogger() });
  const watched = other.watch("web");
  await other.set("web", "b", 2, null);
  await other.delete("web", "c");
  await watched;
  expect(other.snapshot.values("web")).toEqual({ b: 2n });
});
