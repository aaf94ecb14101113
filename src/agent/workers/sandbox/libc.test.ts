import { expect, test } from "bun:test";
import { constants } from "node:os";
import { readlinkSync } from "node:fs";
import { ERRNO, errnoName, must, openKernel } from "./libc.ts";

const AT_FDCWD = -100;
const kernel = openKernel();

test("results, text and memory go in and out", () => {
  expect(kernel.call("getppid")).toBe(process.ppid);
  const fd = kernel.call("openat", AT_FDCWD, "/proc/self/comm", 0, 0);
  expect(readlinkSync(`/proc/self/fd/${fd}`)).toEndWith("/comm");
  const text = Buffer.alloc(64);
  const size = kernel.call("read", fd, text, text.length);
  expect(size).toBeGreaterThan(1);
  expect(text.subarray(0, size).toString()).toEndWith("\n");
  expect(kernel.call("close", fd)).toBe(0);
});

test("a failure is -errno", () => {
  expect(kernel.call("openat", AT_FDCWD, "/nowhere/at/all", 0, 0)).toBe(-ERRNO.ENOENT);
  expect(kernel.call("close", -1)).toBe(-ERRNO.EBADF);
  expect(() => must("open /nowhere", -ERRNO.ENOENT)).toThrow("sandbox: open /nowhere: ENOENT");
  expect(must("x", 7)).toBe(7);
});

test("names of errors are the system's", () => {
  for (const [name, number] of Object.entries(ERRNO)) {
    const system = (constants.errno as Record<string, number>)[name];
    if (system !== undefined) expect(`${name} ${number}`).toBe(`${name} ${system}`);
  }
  expect(errnoName(-13)).toBe("EACCES");
  expect(errnoName(-9999)).toBe("errno 9999");
});
