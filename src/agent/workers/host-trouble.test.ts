import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HoldfastError } from "../../core/errors.ts";
import { isHostTrouble } from "./host-trouble.ts";

test("what the host is short of is told from what a plugin did, also as a cause", () => {
  const full = Object.assign(new Error("no space left on device"), { code: "ENOSPC" });
  expect(isHostTrouble(full)).toBe(true);
  expect(isHostTrouble(new HoldfastError("failed", "the worker has no folder", { cause: full }))).toBe(true);
  expect(isHostTrouble(new HoldfastError("failed", "its settings do not fit"))).toBe(false);
  expect(isHostTrouble("ENOSPC")).toBe(false);
  const folder = mkdtempSync(join(tmpdir(), "holdfast-trouble-"));
  try {
    writeFileSync(join(folder, "absent", "file"), "");
    throw new Error("it was written");
  } catch (error) {
    expect(isHostTrouble(error)).toBe(false);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
