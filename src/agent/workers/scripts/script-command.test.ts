import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { scriptCommand } from "./script-command.ts";

let dir: string;
beforeAll(() => void (dir = mkdtempSync(join(tmpdir(), "holdfast-command-"))));
afterAll(() => rmSync(dir, { recursive: true }));

const sh = Bun.which("sh", { PATH: "/usr/local/bin:/usr/bin:/bin" })!;

test.each<[head: string, command: string[]]>([
  ["#!/bin/sh", ["/bin/sh"]],
  ["#! /bin/sh -eu  ", ["/bin/sh", "-eu"]],
  ["#!/usr/bin/awk -f x y", ["/usr/bin/awk", "-f x y"]],
  ["#!/usr/bin/env sh", [sh]],
  ["#!/usr/bin/env -S sh -e -u", [sh, "-e", "-u"]],
  // Left to the kernel and to env.
  ["#!/usr/bin/env sh -e", []],
  ["#!/usr/bin/env no-such-program", []],
  ["#!/usr/bin/env ../sh", []],
  ["#!", []],
  ["\x7fELF\x02", []],
  ["", []],
])("%j", async (head, command) => {
  const file = join(dir, "script");
  writeFileSync(file, `${head}\nrest\n`, "latin1");
  expect(await scriptCommand(file)).toEqual([...command, file]);
});
