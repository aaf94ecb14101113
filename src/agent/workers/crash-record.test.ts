import { expect, test } from "bun:test";
import { CrashRecord } from "./crash-record.ts";
import { DEFAULT_TIMING } from "./timing.ts";

const again = (delayMs: number) => ({ kind: "again", delayMs }) as const;

test("delays grow, and the fifth crash within a minute is quarantine", () => {
  const record = new CrashRecord(DEFAULT_TIMING.backoff);
  const after = [0, 1000, 2000, 3000].map((at) => record.add(at, "x", true, () => 0));
  expect(after).toEqual([again(250), again(500), again(1000), again(2000)]);
  expect(record.add(59_000, "boom", true, () => 0)).toEqual({
    kind: "quarantine",
    reason: "5 crashes within 60 s; the last: boom",
  });
});

test("crashes that are far apart never lead to quarantine, and each waits the initial delay", () => {
  const record = new CrashRecord(DEFAULT_TIMING.backoff);
  for (let n = 0; n < 20; n++) expect(record.add(n * 61_000, "x", true, () => 0)).toEqual(again(250));
});

test("ends that are not the plugin's fault only make it wait, up to the cap", () => {
  const record = new CrashRecord(DEFAULT_TIMING.backoff);
  let last: unknown;
  for (let n = 0; n < 50; n++) last = record.add(n * 1000, "store", false, () => 0.5);
  expect(last).toEqual(again(22_500));
});

test("clear starts over", () => {
  const record = new CrashRecord(DEFAULT_TIMING.backoff);
  for (let n = 0; n < 4; n++) record.add(n, "x", true, () => 0);
  record.clear();
  expect(record.add(5, "x", true, () => 0)).toEqual(again(250));
});
