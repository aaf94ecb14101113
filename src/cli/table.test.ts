import { describe, expect, test } from "bun:test";
import { fitted, plainLine, plainText } from "./plain-text.ts";
import { age, localTime, took } from "./show-time.ts";
import { table } from "./table.ts";

interface Row {
  a: string;
  b: string | null;
}
const COLUMNS = [
  { title: "A", value: (row: Row) => row.a },
  { title: "B", value: (row: Row) => row.b, shrinkTo: 5 },
];

describe("tables", () => {
  test("columns line up, also with wide characters; nothing is a dash", () => {
    const lines = table(
      [
        { a: "x", b: "first" },
        { a: "日本", b: null },
      ],
      COLUMNS,
    );
    expect(lines).toEqual(["A     B", "x     first", "日本  -"]);
  });

  test("what does not fit a terminal gives way where it may; nothing is cut without one", () => {
    const rows = [{ a: "0123456789", b: "a long text that is too long" }];
    expect(table(rows, COLUMNS, { width: 24 })[1]).toBe("0123456789  a long text…");
    expect(table(rows, COLUMNS, { width: 5 })[1]).toBe("0123456789  a lo…");
    expect(table(rows, COLUMNS)[1]).toBe("0123456789  a long text that is too long");
  });

  test("untrusted text cannot steer the terminal", () => {
    const evil = "a\u001b[2J\u001b]0;title\u0007b\r\nc\td\u202e\u0085\u009b31m\u0000e";
    const [line] = table([{ a: evil, b: "x" }], COLUMNS, { header: false, color: true });
    expect(line).toMatch(/^[\x20-\x7e]+$/);
    expect(line).not.toContain("title");
    expect(line).toStartWith("ab c d");
  });

  test("colour only when it is on", () => {
    const columns = [{ title: "S", value: (row: Row) => row.a, color: () => "red" as const }];
    expect(table([{ a: "x", b: null }], columns)).toEqual(["S", "x"]);
    expect(table([{ a: "x", b: null }], columns, { color: true })[1]).toBe("\u001b[31mx\u001b[0m");
  });
});

describe("text", () => {
  test("logs keep their lines and tabs", () => {
    expect(plainText("one\r\n\ttwo\u001b[31m red\u001b[0m\b\n")).toBe("one\n\ttwo red\n");
    expect(plainLine("one\ntwo")).toBe("one two");
  });

  test("cutting counts columns and keeps characters whole", () => {
    expect(fitted("日本語", 5)).toBe("日本…");
    expect(fitted("👩‍👩‍👧 family", 4)).toBe("👩‍👩‍👧 …");
    expect(fitted("abc", 3)).toBe("abc");
    expect(fitted("abc", 1)).toBe("…");
  });
});

describe("times", () => {
  const now = Date.parse("2026-11-21T12:00:00Z");
  const before = (seconds: number) => new Date(now - seconds * 1000).toISOString();

  test.each([
    [0, "now"],
    [5, "5s ago"],
    [61, "1m ago"],
    [3 * 3600, "3h ago"],
    [86_400 * 9, "9d ago"],
    [-600, "in 10m"],
  ])("%d seconds before is %s", (seconds, text) => {
    expect(age(before(seconds), now)).toBe(text);
  });

  test("local time without milliseconds; what is no time is shown as it came", () => {
    expect(localTime("2026-11-21T12:00:00.123Z")).toMatch(/^2026-11-2\dT\d\d:\d\d:00$/);
    expect(localTime("yesterday")).toBe("yesterday");
    expect(age("yesterday", now)).toBe("?");
    expect(localTime(null)).toBe("-");
  });

  test.each([
    [0.012, "12ms"],
    [1.5, "1.5s"],
    [200, "3m20s"],
    [7500, "2h05m"],
  ])("%d seconds took %s", (seconds, text) => {
    expect(took(before(seconds), before(0))).toBe(text);
  });
});
