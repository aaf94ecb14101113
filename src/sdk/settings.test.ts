import { expect, test } from "bun:test";
import * as v from "valibot";
import { parseSettings, settingsIssues } from "./settings.ts";

const schema = v.strictObject({
  command: v.union([v.string(), v.pipe(v.array(v.string()), v.minLength(1))]),
  mode: v.optional(v.picklist(["fast", "safe"])),
});

test("a list with a wrong item is told by the item, anything else by all that it may be", () => {
  expect(() => parseSettings(schema, { command: ["echo", null] })).toThrow(
    "wrong settings: command.1: has the wrong type, expected string, found null",
  );
  expect(() => parseSettings(schema, { command: 7 })).toThrow(
    "wrong settings: command: has the wrong type, expected string | Array, found 7",
  );
  expect(parseSettings<{ command: unknown }>(schema, { command: ["echo"] })).toEqual({ command: ["echo"] });
});

test("every problem is told, with the names that are known", () => {
  const issues = settingsIssues(schema, { comand: "x", mode: "fsat" });
  expect(issues).toEqual([
    expect.objectContaining({ path: ["command"], message: "is missing" }),
    expect.objectContaining({ path: ["mode"], actual: '"fsat"', known: ["fast", "safe"] }),
    expect.objectContaining({ path: ["comand"], message: "unknown setting", known: ["command", "mode"] }),
  ]);
});
