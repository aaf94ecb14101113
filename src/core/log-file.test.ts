import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "./logger.ts";
import { type LogFileOptions, openLogFile } from "./log-file.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-log-"));
  path = join(folder, "agent.log");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const open = (options: Partial<LogFileOptions> = {}) =>
  openLogFile({ path, maxBytes: 1000, maxFiles: 3, wall: () => 0, ...options });
const read = (name = path) => readFileSync(name, "utf8");
const line = (n: number) => `${n}`.padStart(99, "x");

describe("rotation", () => {
  test("keeps N numbered backups, .1 the newest, none over the size, nothing lost within them", async () => {
    const log = open();
    for (let n = 0; n < 100; n++) log.write(line(n), "info");
    await log.close();
    expect(readdirSync(folder).sort()).toEqual(["agent.log", "agent.log.1", "agent.log.2", "agent.log.3"]);
    const kept = ["agent.log.3", "agent.log.2", "agent.log.1", "agent.log"].map((name) =>
      read(join(folder, name)),
    );
    expect(kept.map((text) => text.length)).toEqual([1000, 1000, 1000, 1000]);
    expect(kept.join("")).toBe(Array.from({ length: 40 }, (_, i) => `${line(60 + i)}\n`).join(""));
    expect(statSync(path).mode & 0o777).toBe(0o640);
    expect(log.dropped()).toBe(0);
  });

  test("goes on after a restart, mends a half line and removes backups over a smaller N", async () => {
    for (const name of ["agent.log.1", "agent.log.3", "agent.log.9", "agent.log.old"])
      writeFileSync(join(folder, name), name);
    writeFileSync(path, "half");
    const log = open({ maxFiles: 2 });
    log.write("one", "info");
    await log.flush();
    expect(read()).toBe("half\none\n");
    expect(readdirSync(folder).sort()).toEqual(["agent.log", "agent.log.1", "agent.log.old"]);
    for (let n = 0; n < 10; n++) log.write(line(n), "info");
    await log.close();
    expect(read(`${path}.1`)).toStartWith("half\none\n");
    expect(read(`${path}.2`)).toBe("agent.log.1");
  });

  test("a line over the size gets a file of its own", async () => {
    const log = open({ maxBytes: 50 });
    for (const text of ["a", line(1), "b"]) log.write(text, "info");
    await log.close();
    expect([read(), read(`${path}.1`), read(`${path}.2`)]).toEqual(["b\n", `${line(1)}\n`, "a\n"]);
  });

  test("with no backups the file starts over", async () => {
    const log = open({ maxFiles: 0, maxBytes: 100 });
    for (let n = 0; n < 5; n++) log.write(line(n), "info");
    await log.close();
    expect(readdirSync(folder)).toEqual(["agent.log"]);
    expect(read()).toBe(`${line(4)}\n`);
  });
});

describe("losses", () => {
  test("what is over the bound is dropped, counted and told once", async () => {
    const log = open({ maxBytes: 1e6, maxPendingBytes: 300 });
    for (let n = 0; n < 10; n++) log.write(line(n), "info");
    expect(log.dropped()).toBe(7);
    await log.flush();
    log.write("after", "info");
    log.write("later", "info");
    await log.close();
    const lines = read().trimEnd().split("\n");
    const taken = lines.filter((text) => !text.includes("dropped"));
    expect(taken).toEqual([line(0), line(1), line(2), "after", "later"]);
    const told = lines.filter((text) => text.includes("dropped")).map((text) => JSON.parse(text));
    expect(told).toEqual([
      {
        time: "1970-01-01T00:00:00.000Z",
        level: "warn",
        component: "log",
        message: "7 log lines near this one were dropped: the disk is too slow",
        dropped: 7,
      },
    ]);
    log.write("closed", "info");
    expect(log.dropped()).toBe(8);
  });

  test("a full disk throws nowhere, leaves no half line, and is told when there is room again", async () => {
    const disk = join(folder, "disk");
    await Bun.$`mkdir ${disk}`.quiet();
    const mounted = await Bun.$`mount -t tmpfs -o size=16k tmpfs ${disk}`.quiet().nothrow();
    // Without the right to mount, a device that is always full stands in; it cannot have room again.
    const full = mounted.exitCode === 0 ? join(disk, "agent.log") : "/dev/full";
    try {
      const log = open({ path: full, maxBytes: 1e6 });
      const fill = join(disk, "fill");
      if (full !== "/dev/full") writeFileSync(fill, Buffer.alloc(4096));
      for (let n = 0; n < 400; n++) {
        log.write(line(n), "info");
        if (n % 10 === 0) await log.flush();
      }
      await log.flush();
      const dropped = log.dropped();
      expect(dropped).toBeGreaterThan(0);
      if (full === "/dev/full") return;
      rmSync(fill);
      log.write("room", "info");
      await log.close();
      const lines = read(full).trimEnd().split("\n");
      expect(lines.at(-1)).toBe("room");
      expect(JSON.parse(lines.at(-2)!)).toMatchObject({ dropped });
      expect(lines.at(-2)).toContain("the disk is full");
      expect(lines.length).toBe(400 - dropped + 2);
      expect(lines.slice(0, -2).every((text) => text.length === 99)).toBe(true);
    } finally {
      if (mounted.exitCode === 0) await Bun.$`umount ${disk}`.quiet();
    }
  });

  test("a folder that is gone is a loss, not an error", async () => {
    const log = open({ path: join(folder, "none", "x.log") });
    log.write("one", "info");
    await log.close();
    expect(log.dropped()).toBe(1);
    expect(existsSync(join(folder, "none"))).toBe(false);
  });
});

test("writing never waits for the disk: 50,000 lines are taken at once and all arrive", async () => {
  const log = open({ maxBytes: 1e8, maxPendingBytes: 1e8 });
  for (let n = 0; n < 50_000; n++) log.write(line(n), "info");
  expect(existsSync(path)).toBe(false);
  await log.close();
  expect(read().length).toBe(50_000 * 100);
});

test("as the sink of a logger every line is JSON with time, level, component and agent", async () => {
  const file = open();
  const log = createLogger({ sinks: [file], level: () => "info", wall: () => 0, base: { agent: "web-01" } });
  log.child("runs").warn("hello", { api_token: "secret" });
  await file.close();
  expect(JSON.parse(read())).toEqual({
    time: "1970-01-01T00:00:00.000Z",
    level: "warn",
    component: "runs",
    agent: "web-01",
    message: "hello",
    api_token: "***",
  });
});
