import { afterAll, expect, test } from "bun:test";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { chmodSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ActionError, v } from "../../src/sdk/holdfast.ts";
import { fixedFolder } from "../../src/testing/fixed-folder.ts";
import { contextFor } from "../../src/testing/plugin-context.ts";
import file from "./plugin.ts";

const home = mkdtempSync(join(tmpdir(), "holdfast-file-"));
afterAll(() => rmSync(home, { recursive: true }));
const run = (settings: Record<string, unknown>) => file.run(contextFor(file, { settings, home }).context);
const modeOf = (path: string) => statSync(path).mode & 0o7777;

test("append makes the file and adds exactly what it is given", async () => {
  const path = join(home, "notes.txt");
  expect(await run({ path: "notes.txt", do: "append", content: "ä\n" })).toEqual({ path, bytes: 3 });
  await run({ path, do: "append", content: "b" });
  expect(readFileSync(path, "utf8")).toBe("ä\nb");
  expect(modeOf(path)).toBe(0o640);
});

test("write replaces as a whole, keeps the mode, leaves nothing behind", async () => {
  const path = join(home, "folder", "conf");
  mkdirSync(join(home, "folder"));
  writeFileSync(path, "old content");
  chmodSync(path, 0o604);
  const inode = statSync(path).ino;
  expect(await run({ path, do: "write", content: "new" })).toEqual({ path, bytes: 3 });
  expect([readFileSync(path, "utf8"), modeOf(path)]).toEqual(["new", 0o604]);
  expect(statSync(path).ino).not.toBe(inode);
  await run({ path, do: "write", content: "", mode: "0600" });
  expect([readFileSync(path, "utf8"), modeOf(path)]).toEqual(["", 0o600]);
  expect(readdirSync(join(home, "folder"))).toEqual(["conf"]);
});

test("a link stays a link", async () => {
  writeFileSync(join(home, "target"), "1");
  symlinkSync("target", join(home, "link"));
  await run({ path: "link", do: "write", content: "2" });
  expect(lstatSync(join(home, "link")).isSymbolicLink()).toBe(true);
  expect(readFileSync(join(home, "target"), "utf8")).toBe("2");
});

test("delete, also of what is gone", async () => {
  const path = join(home, "gone");
  writeFileSync(path, "");
  expect(await run({ path, do: "delete" })).toEqual({ path, bytes: 0, deleted: true });
  expect(existsSync(path)).toBe(false);
  expect(await run({ path, do: "delete" })).toEqual({ path, bytes: 0, deleted: false });
});

test.each([
  ["append", "missing/x", "not_found"],
  ["write", "missing/x", "not_found"],
  ["append", ".", "invalid"],
  ["write", ".", "invalid"],
  ["delete", ".", "invalid"],
])("%s on %s vouches that nothing was done", async (verb, path, code) => {
  const error = await run({ path, do: verb, content: "x" }).then(
    () => undefined,
    (thrown: unknown) => thrown as ActionError,
  );
  expect(error).toBeInstanceOf(ActionError);
  expect({ ...error, message: error!.message }).toMatchObject({ started: false, retryable: false, code });
  expect(error!.message).toContain(home);
});

test("where only the file may be changed and not its folder, it is written in place", async () => {
  const place = fixedFolder({ conf: "old content", log: "1" });
  try {
    const out = await place.run(
      `import file from ${JSON.stringify(join(import.meta.dir, "plugin.ts"))};
       import { contextFor } from ${JSON.stringify(join(import.meta.dir, "../../src/testing/plugin-context.ts"))};`,
      `const run = (settings) => file.run(contextFor(file, { settings, home: ${JSON.stringify(place.folder)} }).context);
       await run({ path: "conf", do: "write", content: "new" });
       await run({ path: "log", do: "append", content: "2", mode: "0600" });
       for (const settings of [{ path: "conf", do: "delete" }, { path: "other", do: "write" }])
         await run(settings).catch((error) => console.log(error.started, error.code));`,
    );
    expect(out).toBe("false denied\nfalse denied\n");
    expect(readFileSync(join(place.folder, "conf"), "utf8")).toBe("new");
    expect(readFileSync(join(place.folder, "log"), "utf8")).toBe("12");
    expect(modeOf(join(place.folder, "log"))).toBe(0o600);
  } finally {
    place.close();
  }
});

test("settings", () => {
  const good = (settings: object) => v.safeParse(file.settings, settings).success;
  expect(good({ path: "x", do: "append" })).toBe(true);
  expect(good({ path: "x", do: "truncate" })).toBe(false);
  expect(good({ path: "x", do: "write", mode: "rw" })).toBe(false);
});
