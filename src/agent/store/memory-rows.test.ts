import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { failure, type Fixture, fixture } from "./store-fixtures.ts";
import type { ThreadedAgentStore } from "./agent-store.ts";

let place: Fixture;
beforeEach(() => {
  place = fixture();
});
afterEach(() => place.end());

const AT = { namespace: "web", key: "count" };
const put = (store: ThreadedAgentStore, value: unknown, more: object = {}) =>
  store.memoryPut({ ...AT, text: JSON.stringify(value), expiresMs: null, nowMs: 10, token: null, ...more });

test("a value survives the store's end; versions only go up, also over deletions", async () => {
  const first = await place.open();
  expect(await first.memoryGet("web", "count", 10)).toBeNull();
  const one = await put(first, { n: 1 });
  const two = await put(first, { n: 2 });
  expect(two).toBeGreaterThan(one);
  expect(await first.memoryDelete({ ...AT, nowMs: 10, token: null })).toBe(true);
  expect(await first.memoryDelete({ ...AT, nowMs: 10, token: null })).toBe(false);
  await first.close();
  const second = await place.open();
  const three = await put(second, "ü\0", { nowMs: 11 });
  expect(three).toBeGreaterThan(two);
  expect(await second.memoryGet("web", "count", 11)).toEqual({
    value: "ü\0",
    version: three,
    changedMs: 11,
    expiresMs: null,
  });
  expect(await second.memoryGet("other", "count", 11)).toBeNull();
});

test("a token counts until somebody else has the key, or has changed it, or the store was opened again and freed", async () => {
  const store = await place.open();
  const late = (token: number, value: unknown = "late") => failure(put(store, value, { token }));
  const first = await store.memoryCheckOut({ ...AT, nowMs: 10 });
  expect(first).toEqual({ token: first.token, exists: false, value: null });
  const second = await store.memoryCheckOut({ ...AT, nowMs: 10 });
  expect(second.token).toBeGreaterThan(first.token);
  expect(await late(first.token)).toMatchObject({ code: "expired", retryable: true });
  await put(store, 1, { token: second.token });
  expect(await late(second.token)).toMatchObject({ code: "expired" });
  const third = await store.memoryCheckOut({ ...AT, nowMs: 10 });
  expect(third).toMatchObject({ exists: true, value: 1 });
  await put(store, 2);
  expect(await late(third.token)).toMatchObject({ code: "expired" });
  const fourth = await store.memoryCheckOut({ ...AT, nowMs: 10 });
  await store.memoryDelete({ ...AT, nowMs: 10, token: null });
  expect(await late(fourth.token)).toMatchObject({ code: "expired" });
  expect(await failure(store.memoryDelete({ ...AT, nowMs: 10, token: fourth.token }))).toMatchObject({
    code: "expired",
  });
  const fifth = await store.memoryCheckOut({ ...AT, nowMs: 10 });
  expect(await store.memoryCheckIn("web", "count", fourth.token)).toBe(false);
  expect(await store.memoryCheckIn("web", "count", fifth.token)).toBe(true);
  expect(await late(fifth.token)).toMatchObject({ code: "expired" });
  const sixth = await store.memoryCheckOut({ ...AT, nowMs: 10 });
  await store.close();
  const again = await place.open();
  await again.memoryFree();
  expect(await failure(put(again, "late", { token: sixth.token }))).toMatchObject({ code: "expired" });
  expect((await again.memoryCheckOut({ ...AT, nowMs: 10 })).token).toBeGreaterThan(sixth.token);
  expect(await again.memoryGet("web", "count", 10)).toBeNull();
});

test("what is over is not there, and is swept", async () => {
  const store = await place.open();
  await put(store, 1, { expiresMs: 20 });
  await put(store, 2, { key: "stays" });
  expect((await store.memoryGet("web", "count", 19))?.value).toBe(1);
  expect(await store.memoryGet("web", "count", 20)).toBeNull();
  expect(await store.memoryCheckOut({ ...AT, nowMs: 20 })).toMatchObject({ exists: false });
  const list = (nowMs: number) =>
    store.memoryList({ namespace: "web", prefix: "", after: ["", ""], limit: 9, nowMs });
  expect((await list(19)).map(({ key }) => key)).toEqual(["count", "stays"]);
  expect((await list(20)).map(({ key }) => key)).toEqual(["stays"]);
  expect(await store.memorySweep(19)).toBe(0);
  expect(await store.memorySweep(20)).toBe(1);
  expect((await store.memoryOf("web")).map(({ key, value }) => [key, value])).toEqual([["stays", 2]]);
});

test("lists by namespace, prefix and page", async () => {
  const store = await place.open();
  for (const namespace of ["a", "b"])
    for (const key of ["x", "x.1", "x.2", "y", "X", "z:_-"]) await put(store, 1, { namespace, key });
  const list = async (
    namespace: string | null,
    prefix: string,
    after: [string, string] = ["", ""],
    limit = 99,
  ) =>
    (await store.memoryList({ namespace, prefix, after, limit, nowMs: 1 })).map(
      (each) => `${each.namespace}/${each.key}`,
    );
  expect(await list("a", "x")).toEqual(["a/x", "a/x.1", "a/x.2"]);
  expect(await list(null, "x.")).toEqual(["a/x.1", "a/x.2", "b/x.1", "b/x.2"]);
  expect(await list("a", "")).toEqual(["a/X", "a/x", "a/x.1", "a/x.2", "a/y", "a/z:_-"]);
  expect(await list(null, "", ["a", "y"], 2)).toEqual(["a/z:_-", "b/X"]);
});

test("a namespace that is full says so, and what is over makes room", async () => {
  const store = await place.open();
  const text = JSON.stringify("x".repeat(250 * 1024));
  const big = (n: number, more: object = {}) =>
    store.memoryPut({
      ...{ namespace: "web", key: `big-${n}`, text, expiresMs: null, nowMs: 10, token: null },
      ...more,
    });
  await big(0, { expiresMs: 50 });
  for (let n = 1; n < 65; n++) await big(n);
  const full = await failure(big(65));
  expect(full).toMatchObject({ code: "exhausted" });
  expect(full.message).toContain("the memory is full: namespace web would have more than 16MB; delete keys");
  // Another namespace has room; to make a value smaller or to change a small one always works.
  await big(65, { namespace: "other" });
  await put(store, 1, { key: "big-3" });
  await big(65);
  expect(await failure(big(66))).toMatchObject({ code: "exhausted" });
  await big(66, { nowMs: 50 });
  expect(await store.memoryGet("web", "big-0", 10)).toBeNull();
  await store.close();
  expect(
    await failure((await place.open()).memoryPut({ ...AT, text, expiresMs: null, nowMs: 50, token: null })),
  ).toMatchObject({ code: "exhausted" });
});

test("a damaged store keeps the readable part of the memory, and its numbers go on", async () => {
  const store = await place.open();
  await put(store, 1);
  const version = await put(store, 2, { key: "b", expiresMs: 99 });
  await store.close();
  const database = new Database(place.path);
  database.run("UPDATE memory SET value = 'no json' WHERE key = 'count'");
  database.close();
  writeFileSync(`${place.path}-damaged`, "told\n");
  const fresh = await place.open();
  expect(fresh.facts.salvage!.salvaged).toMatchObject({ memory: 1 });
  expect(await fresh.memoryGet("web", "b", 10)).toEqual({ value: 2, version, changedMs: 10, expiresMs: 99 });
  expect(await put(fresh, 3)).toBeGreaterThan(version);
});
