import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { linesOfPlugins, pluginLines } from "./plugin-lines.ts";

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), "holdfast-lines-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (second: number) => new Date(second * 1000).toISOString();
const line = (second: number, message: string, more: object = {}) =>
  JSON.stringify({ time: at(second), level: "info", component: "act", message, ...more });
const of = (run: string, attempt = 1) => ({ run, step: "a", attempt });
const put = (name: string, ...lines: string[]) => writeFileSync(join(folder, name), `${lines.join("\n")}\n`);
const texts = async (run: string, sinceMs: number) => {
  const { lines, complete } = await pluginLines(join(folder, "act.log"), run, sinceMs);
  return [...lines.map(({ text }) => text), complete];
};

describe("lines of a run", () => {
  test("those of its attempts, with their stream and fields; nothing that only looks like one", async () => {
    put(
      "act.log",
      line(1, "of nobody"),
      line(2, "hello", { fields: { stream: "stdout" }, ...of("run-1") }),
      line(3, "other", of("run-2")),
      line(4, 'says "run":"run-1"'),
      line(5, "forged", { fields: { run: "run-1", step: "a", attempt: 1 } }),
      line(6, "told", { fields: { size: 3 }, ...of("run-1", 2) }),
      `{"time":"${at(7)}","message":"cut","run":"run-1"`,
    );
    const { lines, complete } = await pluginLines(join(folder, "act.log"), "run-1", 0);
    expect(complete).toBe(true);
    expect(lines).toEqual([
      {
        ...{ step: "a", attempt: 1, time: at(2), level: "info", stream: "stdout" },
        text: "hello",
        fields: null,
      },
      {
        ...{ step: "a", attempt: 2, time: at(6), level: "info", stream: null },
        text: "told",
        fields: { size: 3 },
      },
    ]);
  });

  test("of rotated files as far as the run goes back", async () => {
    put("act.log.2", line(1, "older", of("run-1")), line(2, "old", of("run-1")));
    put("act.log.1", line(3, "middle", of("run-1")));
    put("act.log", line(4, "new", of("run-1")));
    expect(await texts("run-1", 3000)).toEqual(["middle", "new", true]);
    expect(await texts("run-1", 1000)).toEqual(["older", "old", "middle", "new", true]);
    // What was before the oldest file may have been of this run.
    expect(await texts("run-1", 500)).toEqual(["older", "old", "middle", "new", false]);
  });

  test("no log at all, and an empty one", async () => {
    expect(await texts("run-1", 0)).toEqual([true]);
    writeFileSync(join(folder, "act.log"), "");
    expect(await texts("run-1", 0)).toEqual([true]);
  });

  test("a flood is cut to the newest", async () => {
    put("act.log", ...Array.from({ length: 6000 }, (_, n) => line(10 + n, `${n}`, of("run-1"))));
    const { lines, complete } = await pluginLines(join(folder, "act.log"), "run-1", 0);
    expect([lines.length, lines.at(-1)!.text, complete]).toEqual([5000, "5999", false]);
  });
});

test("several plugins are told in the order of their times", async () => {
  put("b.log", line(1, "first", of("run-1")), line(3, "third", of("run-1")));
  put("a.log", line(2, "second", of("run-1")));
  const { lines } = await linesOfPlugins(folder, ["a", "b"], "run-1", 0);
  expect(lines.map(({ text }) => text)).toEqual(["first", "second", "third"]);
});
