import { expect, test } from "bun:test";
import { scanLines } from "./line-scanner.ts";

function scan(
  text: string | Buffer,
  options: { final?: boolean; maxLine?: number; skipping?: boolean; most?: number } = {},
) {
  const data = Buffer.from(text as string);
  const state = { data, pos: 0, end: data.length, skipping: options.skipping ?? false };
  const lines: string[] = [];
  scanLines(
    state,
    { maxLine: options.maxLine ?? 8, final: options.final ?? false },
    (start, end, truncated) => {
      lines.push(data.toString("utf8", start, end) + (truncated ? "…" : ""));
      return lines.length < (options.most ?? Infinity);
    },
  );
  return { lines, rest: data.toString("utf8", state.pos), skipping: state.skipping };
}

test.each<[string, Parameters<typeof scan>[1], ReturnType<typeof scan>]>([
  ["a\nb\n", {}, { lines: ["a", "b"], rest: "", skipping: false }],
  ["a\nb", {}, { lines: ["a"], rest: "b", skipping: false }],
  ["a\nb", { final: true }, { lines: ["a", "b"], rest: "", skipping: false }],
  ["a\r\n\r\n\n\rb\n", {}, { lines: ["a", "", "", "\rb"], rest: "", skipping: false }],
  ["a\nb\nc\n", { most: 2 }, { lines: ["a", "b"], rest: "c\n", skipping: false }],
  ["12345678\n", {}, { lines: ["12345678"], rest: "", skipping: false }],
  ["12345678\r\n", {}, { lines: ["12345678"], rest: "", skipping: false }],
  ["12345678\r", {}, { lines: [], rest: "12345678\r", skipping: false }],
  ["123456789\nx\n", {}, { lines: ["12345678…", "x"], rest: "", skipping: false }],
  ["1234567890", {}, { lines: ["12345678…"], rest: "", skipping: true }],
  ["7890\nx\n", { skipping: true }, { lines: ["x"], rest: "", skipping: false }],
  ["7890", { skipping: true }, { lines: [], rest: "", skipping: true }],
  ["1234567890", { final: true }, { lines: ["12345678…"], rest: "", skipping: false }],
  ["1234567ä90\n", {}, { lines: ["1234567…"], rest: "", skipping: false }],
  ["12345😀90\n", {}, { lines: ["12345…"], rest: "", skipping: false }],
  ["\0a\0\n", {}, { lines: ["\0a\0"], rest: "", skipping: false }],
  ["", { final: true }, { lines: [], rest: "", skipping: false }],
])("%p %p", (text, options, expected) => expect(scan(text, options)).toEqual(expected));

test("bytes that are no UTF-8 become replacement characters", () => {
  expect(scan(Buffer.from([0x61, 0xff, 0x62, 10])).lines).toEqual(["a\ufffdb"]);
});

test("a run of zeros as a hole leaves it is passed over, a short one is text", () => {
  const hole = Buffer.alloc(5000);
  expect(scan(Buffer.concat([hole, Buffer.from("a\n")])).lines).toEqual(["a"]);
  expect(scan(Buffer.concat([Buffer.from("b\n"), hole.subarray(0, 4), Buffer.from("a\n")])).lines).toEqual([
    "b",
    "\0\0\0\0a",
  ]);
});
