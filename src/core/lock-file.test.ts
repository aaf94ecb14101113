import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { until } from "../testing/until.ts";
import { acquireLock } from "./lock-file.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-lock-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Another process that takes the lock, says so, spawns a child that outlives it, and waits. */
async function holder(path: string) {
  const source = `
    const { acquireLock } = await import(${JSON.stringify(new URL("./lock-file.ts", import.meta.url).pathname)});
    acquireLock(${JSON.stringify(path)}, "agent web-01");
    const child = Bun.spawn(["sleep", "60"], { stdio: ["ignore", "ignore", "ignore"], detached: true });
    child.unref();
    console.log(child.pid);
    await new Promise(() => setInterval(() => {}, 1000));`;
  const child = Bun.spawn([process.execPath, "-e", source], { stdout: "pipe" });
  const { value } = await child.stdout.getReader().read();
  return { child, grandchild: Number(new TextDecoder().decode(value)) };
}

test("a second process is refused and told the pid; kill -9 frees the lock though a child of the holder lives on", async () => {
  const path = join(folder, "agent.lock");
  const { child, grandchild } = await holder(path);
  try {
    expect(() => acquireLock(path, "agent web-01")).toThrow(
      `agent web-01 is already running: pid ${child.pid} holds the lock ${path}; stop it first`,
    );
    child.kill("SIGKILL");
    await child.exited;
    expect(readFileSync(path, "utf8")).toBe(`${child.pid}\n`);
    // A process that another test starts at this moment holds a copy until its exec.
    let lock: ReturnType<typeof acquireLock> | undefined;
    await until("the lock is free", () => {
      try {
        lock = acquireLock(path, "agent web-01");
      } catch {
        // Not yet.
      }
      return lock !== undefined;
    });
    expect(readFileSync(path, "utf8")).toBe(`${process.pid}\n`);
    lock!.release();
  } finally {
    process.kill(grandchild, "SIGKILL");
  }
});

test("within one process too, until it is released; releasing twice harms nobody", () => {
  const path = join(folder, "twice.lock");
  const first = acquireLock(path);
  expect(() => acquireLock(path)).toThrow(`pid ${process.pid} holds the lock`);
  first.release();
  const second = acquireLock(path);
  first.release();
  expect(() => acquireLock(path)).toThrow("already running");
  second.release();
});

test("a file left by a dead process with a reused pid does not block", () => {
  const path = join(folder, "stale.lock");
  writeFileSync(path, `${process.ppid}\n`);
  acquireLock(path).release();
});

test("what a dead holder was just starting, and has a copy of its lock for a moment, is waited for", async () => {
  const path = join(folder, "copied.lock");
  const holding = `exec 9>>${path}; flock 9; echo $$ > ${path}; sleep 0.3 &`;
  const holder = Bun.spawn(["/bin/sh", "-c", holding], { stdio: ["ignore", "ignore", "ignore"] });
  expect(await holder.exited).toBe(0);
  acquireLock(path).release();
});

test("a folder that is not there is named", () => {
  expect(() => acquireLock(join(folder, "none", "x.lock"), "agent web-01")).toThrow(
    `cannot open the lock file ${join(folder, "none", "x.lock")} of agent web-01`,
  );
});
