import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { folderBytes, trimLogs } from "./trim-logs.ts";

let folder: string;
let folders: string[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-logs-"));
  folders = [folder, join(folder, "plugins")];
  mkdirSync(folders[1]!);
});
afterEach(() => rmSync(folder, { recursive: true }));

function file(name: string, bytes: number, at: number): string {
  const path = join(folder, name);
  writeFileSync(path, "x".repeat(bytes));
  utimesSync(path, at, at);
  return path;
}

test("the oldest rotated files go first, as many as it takes; what is written to stays", () => {
  const current = file("agent.log", 500, 1);
  const newest = file("agent.log.1", 100, 40);
  const oldest = file("agent.log.2", 100, 10);
  const ofPlugin = file("plugins/exec.log.1", 100, 20);
  expect(folderBytes(folders)).toBe(800);
  expect(trimLogs(folders, 150)).toEqual({ files: 2, bytes: 200 });
  expect([current, newest, oldest, ofPlugin].map(existsSync)).toEqual([true, true, false, false]);
  expect(folderBytes(folders)).toBe(600);
  expect(trimLogs(folders, 10_000)).toEqual({ files: 1, bytes: 100 });
  expect(existsSync(current)).toBe(true);
});

test("other files, folders and what is not there are left alone", () => {
  const others = [file("notes.txt", 10, 1), file("x.log.old", 10, 1), file("agent.log.gz.1", 10, 1)];
  mkdirSync(join(folder, "agent.log.7"));
  expect(trimLogs([...folders, join(folder, "absent")], 1000)).toEqual({ files: 0, bytes: 0 });
  expect(others.every(existsSync)).toBe(true);
  expect(folderBytes([join(folder, "absent")])).toBe(0);
});
