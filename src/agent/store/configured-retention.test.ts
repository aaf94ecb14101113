import { expect, test } from "bun:test";
import * as v from "valibot";
import { configSchema } from "../../model/config.ts";
import { configuredRetention } from "./configured-retention.ts";

test("events are held for the outputs that are at work", () => {
  const output = (name: string, enabled: boolean) => ({ name, plugin: "file", enabled });
  const config = v.parse(configSchema, { outputs: [output("archive", true), output("old", false)] });
  expect(configuredRetention(config).outputs).toEqual(["archive"]);
  expect(configuredRetention(v.parse(configSchema, {})).outputs).toEqual([]);
});
