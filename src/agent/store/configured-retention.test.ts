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

test("what is kept after the ack fits into what there is room for", () => {
  const sent = (document: object) => configuredRetention(v.parse(configSchema, document)).sent;
  expect(sent({})).toMatchObject({ ageMs: 86_400_000, bytes: 64 * 1024 ** 2 });
  expect(sent({ sync: { keep: { age: "3d", size: "100MB" } } })).toMatchObject({
    ageMs: 3 * 86_400_000,
    bytes: 100 * 1024 ** 2,
  });
  expect(sent({ history: { size: "64MB" } }).bytes).toBe(8 * 1024 ** 2);
  for (const sync of [
    { keep: { age: "1s" } },
    { keep: { size: "much" } },
    { backlog: { rate: "1KB" } },
    { backlog: { rate: "fast" } },
    { else: 1 },
  ]) {
    expect(v.safeParse(configSchema, { sync }).success, JSON.stringify(sync)).toBe(false);
  }
});
