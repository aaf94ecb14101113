import { afterAll, expect, test } from "bun:test";
import { appendFileSync, copyFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from "node:fs";
import { symlinkSync, truncateSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Emit, type Json, v } from "../../src/sdk/holdfast.ts";
import { contextFor } from "../../src/testing/plugin-context.ts";
import { until } from "../../src/testing/until.ts";
import fileTail from "./plugin.ts";

const root = mkdtempSync(join(tmpdir(), "holdfast-tail-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let homes = 0;

interface Line {
  line: string;
  offset: number;
  truncated?: boolean;
}

/** A tail that runs on its own and keeps what it emitted; `stop` gives the last checkpoint. */
function follow(home: string, settings: Record<string, unknown> = {}, checkpoint?: Json, lost = false) {
  const stop = new AbortController();
  const { context, lines: logs } = contextFor(fileTail, {
    settings: { path: "a.log", every: "20ms", rotate_wait: "60ms", ...settings },
    home,
    signal: stop.signal,
    lost,
    ...(checkpoint !== undefined && { checkpoint }),
  });
  const emits: Emit[] = [];
  const done = (async () => {
    for await (const emit of fileTail.run(context)) emits.push(emit as Emit);
  })();
  const events = () => emits.flatMap((emit) => emit.events);
  const data = () =>
    events().flatMap((event) => (event.type === "log.line" ? [event.data as unknown as Line] : []));
  return {
    logs,
    emits,
    events,
    data,
    done,
    lines: () => data().map(({ line }) => line),
    has: (count: number) => until(`${count} lines, has ${data().length}`, () => data().length >= count),
    begun: () => until("the first emit", () => emits.length > 0),
    async stop(): Promise<Json> {
      stop.abort();
      await done;
      return emits.at(-1)?.checkpoint ?? checkpoint ?? null;
    },
  };
}

function place(content?: string) {
  const home = join(root, String(homes++));
  mkdirSync(home);
  const log = join(home, "a.log");
  if (content !== undefined) writeFileSync(log, content);
  return { home, log, add: (text: string | Buffer) => appendFileSync(log, text) };
}

test("from the end of a file that is there, with stable ids and a checkpoint", async () => {
  const { home, log, add } = place("old\n");
  const tail = follow(home);
  await tail.begun();
  add("new\nnext\r\n");
  await tail.has(2);
  expect(tail.events()[0]).toMatchObject({
    type: "log.line",
    subject: log,
    data: { line: "new", file: log, offset: 4 },
  });
  expect(tail.events()[0]?.id).toMatch(/^\d+-[0-9a-f]{8}-[0-9a-z]+\.1:000000000004$/);
  expect(tail.lines()).toEqual(["new", "next"]);
  const checkpoint = await tail.stop();
  add("later\n");
  const again = follow(home, {}, checkpoint);
  await again.has(1);
  expect(again.lines()).toEqual(["later"]);
  await again.stop();
  // Without a commit of that, the same again.
  const repeated = follow(home, {}, checkpoint);
  await repeated.has(1);
  expect(repeated.events()[0]?.id).toBe(again.events()[0]?.id!);
  await repeated.stop();
});

test("when its position was lost it begins at the end, however it is set", async () => {
  const { home, add } = place("told\n");
  const tail = follow(home, { from: "start" }, undefined, true);
  await tail.begun();
  add("new\n");
  await tail.has(1);
  const checkpoint = await tail.stop();
  expect(tail.lines()).toEqual(["new"]);
  add("newer\n");
  const again = follow(home, { from: "start" }, checkpoint);
  await again.has(1);
  await again.stop();
  expect(again.lines()).toEqual(["newer"]);
});

test("from the start; a file that is made later is read as a whole; what came while away is read", async () => {
  const first = place("one\n");
  const start = follow(first.home, { from: "start" });
  await start.has(1);
  await start.stop();

  const { home, log, add } = place();
  const tail = follow(home);
  await tail.begun();
  writeFileSync(log, "a\n");
  await tail.has(1);
  expect(tail.logs).toMatchObject([{ level: "warn", fields: { reason: "it does not exist yet" } }]);
  await tail.stop();

  const away = place();
  const waiting = follow(away.home);
  await waiting.begun();
  const checkpoint = await waiting.stop();
  away.add("x\n");
  const back = follow(away.home, {}, checkpoint);
  await back.has(1);
  expect(back.lines()).toEqual(["x"]);
  await back.stop();
  add("");
});

test("a line is emitted when it is complete, also one that was begun before the start", async () => {
  const { home, add } = place("done\nbeg");
  const tail = follow(home);
  await tail.begun();
  add("un\npar");
  await tail.has(1);
  const umlaut = Buffer.from("ä");
  add(umlaut.subarray(0, 1));
  await Bun.sleep(40);
  expect(tail.lines()).toEqual(["begun"]);
  add(umlaut.subarray(1));
  add("\n");
  await tail.has(2);
  expect(tail.lines()).toEqual(["begun", "parä"]);
  await tail.stop();
});

test("a line comes within milliseconds, not with the next look", async () => {
  const { home, add } = place("");
  const tail = follow(home, { every: "1h" });
  await tail.begun();
  const took: number[] = [];
  for (let n = 1; n <= 10; n++) {
    const began = performance.now();
    add(`${n}\n`);
    while (tail.data().length < n && performance.now() - began < 2_000) await Bun.sleep(0);
    took.push(performance.now() - began);
  }
  expect(took.sort((a, b) => a - b)[5]).toBeLessThan(50);
  await tail.stop();
});

test("long lines are cut, in bounded memory, and the next line is whole", async () => {
  const { home, add } = place();
  const tail = follow(home, { max_line: "1KB" });
  await tail.begun();
  add("x".repeat(1024) + "\n" + "y".repeat(1025) + "\n");
  for (let n = 0; n < 20; n++) add("z".repeat(100_000));
  await tail.has(3);
  add("\nafter\n");
  await tail.has(4);
  expect(tail.data().map(({ line, truncated }) => [line[0], line.length, truncated])).toEqual([
    ["x", 1024, undefined],
    ["y", 1024, true],
    ["z", 1024, true],
    ["a", 5, undefined],
  ]);
  await tail.stop();
});

test("a restart in the middle of a line that was cut does not take its rest for a line", async () => {
  const { home, add } = place();
  const tail = follow(home, { max_line: "1KB" });
  await tail.begun();
  add("z".repeat(5000));
  await tail.has(1);
  const checkpoint = await tail.stop();
  add("zzz\nafter\n");
  const next = follow(home, { max_line: "1KB" }, checkpoint);
  await next.has(1);
  expect(next.data()).toMatchObject([{ line: "after", offset: 5004 }]);
  await next.stop();
});

test("an event never gets larger than the agent takes", async () => {
  const { home, add } = place();
  const tail = follow(home, { max_line: "128KB" });
  await tail.begun();
  add(Buffer.alloc(100_000, 1));
  add("\n");
  add("x".repeat(128 * 1024) + "\n");
  await tail.has(2);
  for (const event of tail.events()) expect(JSON.stringify(event).length).toBeLessThan(210_000);
  expect(tail.data().map((data) => data.truncated)).toEqual([true, undefined]);
  await tail.stop();
});

test("many lines come in few batches", async () => {
  const { home } = place(Array.from({ length: 20_000 }, (_, n) => `${n} ${"x".repeat(80)}\n`).join(""));
  const tail = follow(home, { from: "start" });
  await tail.has(20_000);
  expect(tail.lines().every((line, n) => line.startsWith(`${n} `))).toBe(true);
  expect(Math.max(...tail.emits.map((emit) => emit.events.length))).toBe(256);
  expect(tail.emits.length).toBeLessThan(100);
  await tail.stop();
});

test("match lets through what it finds, and the position moves on", async () => {
  const { home, add } = place();
  const tail = follow(home, { match: "ERR(OR)?\\b", type: "app.error" });
  await tail.begun();
  add("fine\nan ERR\nERRATIC\nERROR x\n");
  await until("two events", () => tail.events().length === 2);
  expect(tail.events().map((event) => [event.type, (event.data as unknown as Line).line])).toEqual([
    ["app.error", "an ERR"],
    ["app.error", "ERROR x"],
  ]);
  await tail.stop();
});

test("rotation by rename: late lines and an unfinished one of the old file, then the new one", async () => {
  const { home, log, add } = place("");
  const tail = follow(home);
  await tail.begun();
  add("1\n");
  await tail.has(1);
  renameSync(log, `${log}.1`);
  appendFileSync(`${log}.1`, "2 late\n");
  writeFileSync(log, "3\n");
  await tail.has(3);
  appendFileSync(`${log}.1`, "4 very late\nunfinished");
  await tail.has(5);
  expect(tail.lines()).toEqual(["1", "2 late", "3", "4 very late", "unfinished"]);
  unlinkSync(`${log}.1`);
  add("6\n");
  await tail.has(6);
  const checkpoint = (await tail.stop()) as { files: unknown[] };
  expect(checkpoint.files).toHaveLength(1);
});

test("several rotations while away, none missed and no older file taken up", async () => {
  const { home, log, add } = place("0\n");
  writeFileSync(`${log}.1`, "from before the first start\n");
  const tail = follow(home);
  await tail.begun();
  add("1\n");
  await tail.has(1);
  const checkpoint = await tail.stop();
  add("2\n");
  renameSync(`${log}.1`, `${log}.4`);
  renameSync(log, `${log}.3`);
  writeFileSync(`${log}.2`, "3\n");
  writeFileSync(`${log}.1`, "4\n");
  writeFileSync(`${log}.json`, "not of this log\n");
  writeFileSync(log, "5\n");
  const next = follow(home, {}, checkpoint);
  await next.has(4);
  await Bun.sleep(100);
  expect(next.lines()).toEqual(["2", "3", "4", "5"]);
  await next.stop();
});

test("copy and truncate: what the copy holds is read from it, and the truncation is counted", async () => {
  const { home, log, add } = place("");
  const tail = follow(home);
  await tail.begun();
  add("1\n");
  await tail.has(1);
  add("2\n");
  copyFileSync(log, `${log}.1`);
  truncateSync(log);
  add("3\n");
  await tail.has(3);
  expect([...tail.lines()].sort()).toEqual(["1", "2", "3"]);
  const notice = tail.events().find((event) => event.type === "log.truncated");
  expect(notice?.data).toMatchObject({ file: log, count: 1 });
  const ids = tail.events().map((event) => event.id);
  expect(new Set(ids).size).toBe(ids.length);
  await tail.stop();
});

test("truncated and filled beyond the old position while away", async () => {
  const { home, log } = place("1\n");
  const tail = follow(home, { from: "start" });
  await tail.has(1);
  const checkpoint = await tail.stop();
  const inode = statSync(log).ino;
  writeFileSync(log, "longer than before\nsecond\n");
  expect(statSync(log).ino).toBe(inode);
  const next = follow(home, {}, checkpoint);
  await next.has(2);
  expect(next.lines()).toEqual(["longer than before", "second"]);
  expect(next.events()[0]?.type).toBe("log.truncated");
  await next.stop();
});

test("the hole that a writer with a position of its own leaves behind is passed over", async () => {
  const { home, log } = place("");
  const file = Bun.file(log);
  const tail = follow(home);
  await tail.begun();
  appendFileSync(log, "first line\n");
  await tail.has(1);
  truncateSync(log, 0);
  truncateSync(log, 3_000_000);
  appendFileSync(log, "second\n");
  await tail.has(2);
  expect(file.size).toBe(3_000_007);
  expect(tail.data()[1]).toMatchObject({ line: "second", offset: 3_000_000 });
  await tail.stop();
});

test("moved away and back is the same file", async () => {
  const { home, log, add } = place("1\n");
  const tail = follow(home, { from: "start" });
  await tail.has(1);
  renameSync(log, `${log}.aside`);
  const closed = () => (tail.emits.at(-1)?.checkpoint as { files: unknown[] }).files.length === 0;
  await until("the file to be closed", closed);
  renameSync(`${log}.aside`, log);
  add("2\n");
  await tail.has(2);
  expect(tail.lines()).toEqual(["1", "2"]);
  await tail.stop();
});

test("a link that is put on another file", async () => {
  const { home, log } = place();
  writeFileSync(join(home, "monday.txt"), "1\n");
  writeFileSync(join(home, "tuesday.txt"), "2\n");
  symlinkSync("monday.txt", log);
  const tail = follow(home, { from: "start" });
  await tail.has(1);
  symlinkSync("tuesday.txt", `${log}.new`);
  renameSync(`${log}.new`, log);
  appendFileSync(join(home, "monday.txt"), "1b\n");
  await tail.has(3);
  expect([...tail.lines()].sort()).toEqual(["1", "1b", "2"]);
  await tail.stop();
});

test("a folder or a device is refused, other trouble is logged once", async () => {
  const { home } = place();
  expect(follow(home, { path: "." }).done).rejects.toThrow("is a folder: path must name a log file in it");
  expect(follow(home, { path: "/dev/null" }).done).rejects.toThrow("not a regular file");
  const loop = place();
  symlinkSync("a.log", loop.log);
  const tail = follow(loop.home);
  await Bun.sleep(100);
  expect(tail.logs).toHaveLength(1);
  expect(tail.logs[0]?.message).toBe("cannot read the file; trying again");
  unlinkSync(loop.log);
  writeFileSync(loop.log, "now\n");
  await tail.has(1);
  await tail.stop();
});

test("settings", () => {
  const good = (settings: object) => v.safeParse(fileTail.settings, { path: "a", ...settings }).success;
  expect(good({})).toBe(true);
  expect(good({ match: "(" })).toBe(false);
  expect(good({ max_line: "1MB" })).toBe(false);
  expect(good({ from: "middle" })).toBe(false);
});
