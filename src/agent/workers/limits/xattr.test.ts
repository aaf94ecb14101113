import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Hostiles } from "./hostile-fixtures.ts";
import { readXattr } from "./xattr.ts";

let hostiles: Hostiles;
beforeEach(() => (hostiles = new Hostiles()));
afterEach(() => hostiles.end());

test("an attribute is read; one that is not set, and a file that is not there, give none", async () => {
  const file = join(hostiles.folder, "füll");
  writeFileSync(file, "");
  const set = hostiles.python("import os, sys; os.setxattr(sys.argv[1], 'user.delegate', b'1')", file);
  // Not every file system keeps attributes of users.
  if ((await set.exited) === 0) expect(readXattr(file, "user.delegate")).toBe("1");
  expect(readXattr(file, "user.other")).toBeNull();
  expect(readXattr(join(hostiles.folder, "none"), "user.delegate")).toBeNull();
});
