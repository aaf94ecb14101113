import { expect, test } from "bun:test";
import { eventSummary } from "./event-summary.ts";

const item = (data: unknown, subject: string | null = null) => ({ subject, event: { data } });

test("the most telling part of the data, behind the subject", () => {
  expect(eventSummary(item({ at: 1, line: "ERROR 7" }, "app.log"))).toBe("app.log: ERROR 7");
  expect(eventSummary(item({ id: "f1", severity: "error", title: "shop is down" }))).toBe("shop is down");
  expect(eventSummary(item({ version: 7 }))).toBe('{"version":7}');
  expect(eventSummary(item(null, "front"))).toBe("front");
});
