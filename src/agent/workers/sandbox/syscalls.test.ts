import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { ALWAYS_REFUSED, REFUSED_WITHOUT_FILE_MODES } from "./refused-calls.ts";
import { callNumber, FIRST_UNKNOWN_CALL, SYSCALLS } from "./syscalls.ts";

const X64_HEADERS = ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"];
const ARM64_HEADERS = ["/usr/aarch64-linux-gnu/include/asm-generic/unistd.h"];

/** The header, or a failure in CI, which installs the packages they come in; elsewhere the test is skipped. */
function header(paths: string[], what: string): string | undefined {
  const found = paths.find((path) => existsSync(path));
  if (found) return readFileSync(found, "utf8");
  if (process.env.CI) throw new Error(`no ${what} here, but CI must compare with it: see .ci/run`);
  console.warn(`SKIPPED: ${paths[0]} is not here; the package is ${what}`);
  return undefined;
}

function numbers(text: string): Map<string, number> {
  const found = new Map<string, number>();
  // asm-generic writes __NR3264_x where 32 and 64 bit differ in the function, not in the number.
  for (const [, name, number] of text.matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)/gm)) {
    found.set(name!, Number(number));
  }
  return found;
}

const x64 = process.arch === "x64" ? header(X64_HEADERS, "linux-libc-dev") : undefined;
const arm64 = header(ARM64_HEADERS, "linux-libc-dev-arm64-cross");

describe.each([
  ["x64", x64],
  ["arm64", arm64],
] as const)("%s", (arch, text) => {
  test.skipIf(text === undefined)("every number is the header's, and what is absent is absent there", () => {
    const known = numbers(text!);
    known.delete("syscalls");
    const last = Math.max(...known.values());
    for (const name of Object.keys(SYSCALLS) as (keyof typeof SYSCALLS)[]) {
      const number = callNumber(name, arch);
      // A header of an older kernel than the table's last names.
      if (number !== null && number > last) continue;
      expect(`${name} ${number}`).toBe(`${name} ${known.get(name) ?? null}`);
    }
  });
});

test("calls since 5.1 have one number everywhere", () => {
  for (const [name, [x, arm]] of Object.entries(SYSCALLS)) {
    if ((x ?? 0) >= 424) expect(`${name} ${arm}`).toBe(`${name} ${x}`);
    expect(Math.max(x ?? 0, arm ?? 0)).toBeLessThan(FIRST_UNKNOWN_CALL);
  }
});

test("no call is refused twice", () => {
  const all = [...ALWAYS_REFUSED, ...REFUSED_WITHOUT_FILE_MODES];
  expect(all.filter((name, at) => all.indexOf(name) !== at)).toEqual([]);
});
