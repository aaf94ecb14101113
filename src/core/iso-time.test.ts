import { expect, test } from "bun:test";
import { isoTime } from "./iso-time.ts";

test("a time as text, and 1970 for what is none", () => {
  expect(isoTime(1_795_000_000_123)).toBe("2026-11-18T11:06:40.123Z");
  expect(isoTime(2 ** 60)).toBe("1970-01-01T00:00:00.000Z");
  expect(isoTime(Number.NaN)).toBe("1970-01-01T00:00:00.000Z");
});
