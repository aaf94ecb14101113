import { afterAll, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from "node:fs";
import { statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CloudEvent } from "../../src/sdk/holdfast.ts";
import { fixedFolder } from "../../src/testing/fixed-folder.ts";
import { contextFor } from "../../src/testing/plugin-context.ts";
import output from "./plugin.ts";

const home = mkdtempSync(join(tmpdir(), "holdfast-output-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

function open(path: string, more: Record<string, unknown> = {}) {
  const { context, lines } = contextFor(output, { settings: { path, ...more }, home });
  return {
    lines,
    init: () => output.init!(context),
    write: (events: CloudEvent[]) => output.write(context, events),
  };
}

function events(from: number, count: number, text = ""): CloudEvent[] {
  return Array.from({ length: count }, (_, index) => ({
    specversion: "1.0",
    id: String(from + index),
    source: "urn:holdfast:agent:a/t",
    type: "test",
    time: "2026-11-21T00:00:00Z",
    data: { text },
  }));
}

const idsIn = (path: string) =>
  readFileSync(join(home, path), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => Number((JSON.parse(line) as CloudEvent).id));

test("one line of JSON an event, in folders that it makes", async () => {
  const file = open("archive/all.jsonl");
  await file.init();
  await file.write(events(1, 2, "a\nb"));
  await file.write([]);
  await file.write(events(3, 1));
  expect(idsIn("archive/all.jsonl")).toEqual([1, 2, 3]);
  expect(statSync(join(home, "archive/all.jsonl")).mode & 0o777).toBe(0o640);
});

test("a line that a crash left in part is cut off at the start", async () => {
  const path = join(home, "torn.jsonl");
  const file = open("torn.jsonl");
  await file.write(events(1, 1));
  appendFileSync(path, `{"id":"2${"x".repeat(150_000)}`);
  await file.init();
  expect(file.lines[0]).toMatchObject({ level: "warn", fields: { bytes: 150_008 } });
  await file.init();
  expect(file.lines).toHaveLength(1);
  await file.write(events(2, 1));
  expect(idsIn("torn.jsonl")).toEqual([1, 2]);
  writeFileSync(path, "half");
  await file.init();
  expect(readFileSync(path, "utf8")).toBe("");
});

test("rotates before it grows over its size, and keeps so many", async () => {
  mkdirSync(join(home, "turn"));
  const file = open("turn/log", { max_size: "1KB", keep: 2 });
  for (let n = 0; n < 12; n++) await file.write(events(n, 1, "x".repeat(200)));
  const names = readdirSync(join(home, "turn")).sort();
  expect(names).toEqual(["log", "log.1", "log.2"]);
  const all = ["turn/log.2", "turn/log.1", "turn/log"].flatMap(idsIn);
  expect(all).toEqual(Array.from({ length: all.length }, (_, index) => 12 - all.length + index));
  for (const name of names) expect(statSync(join(home, "turn", name)).size).toBeLessThanOrEqual(1024);
});

test("goes on in a new file when somebody moved the old one", async () => {
  const file = open("moved");
  await file.write(events(1, 1));
  rmSync(join(home, "moved"));
  await file.write(events(2, 1));
  expect(idsIn("moved")).toEqual([2]);
});

test("an error is an error: nothing is taken", async () => {
  mkdirSync(join(home, "is-a-folder"));
  expect(open("is-a-folder").write(events(1, 1))).rejects.toThrow();
  const full = open("full");
  writeFileSync(join(home, "full"), "");
  expect(existsSync("/dev/full")).toBe(true);
  expect(open("/dev/full").write(events(1, 1))).rejects.toThrow(/ENOSPC|space/);
  await full.write(events(1, 1));
});

test("where only the file and the one beside it may be changed, it is set aside in place", async () => {
  const place = fixedFolder({ log: '{"id":"0"}\n{"id":"1', "log.1": "" });
  try {
    const out = await place.run(
      `import output from ${JSON.stringify(join(import.meta.dir, "plugin.ts"))};
       import { contextFor } from ${JSON.stringify(join(import.meta.dir, "../../src/testing/plugin-context.ts"))};`,
      `const settings = { path: "log", max_size: "1KB", keep: 3 };
       const { context } = contextFor(output, { settings, home: ${JSON.stringify(place.folder)} });
       await output.init(context);
       for (let id = 1; id <= 12; id++) await output.write(context, [{ id: String(id), data: "x".repeat(200) }]);`,
    );
    expect(out).toBe("");
    const ids = ["log.1", "log"].flatMap((name) =>
      readFileSync(join(place.folder, name), "utf8").trim().split("\n"),
    );
    const last = ids.map((line) => Number((JSON.parse(line) as CloudEvent).id));
    expect(last).toEqual(Array.from({ length: last.length }, (_, index) => 13 - last.length + index));
    expect(last.length).toBeGreaterThan(4);
    expect(statSync(join(place.folder, "log.1")).size).toBeLessThanOrEqual(1024);
    expect(readdirSync(place.folder).sort()).toEqual(["log", "log.1"]);
  } finally {
    place.close();
  }
});
