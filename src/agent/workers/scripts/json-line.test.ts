import { expect, test } from "bun:test";
import { readEventLine } from "./event-line.ts";
import { parseJson, parseObject, stepErrorOf } from "./json-line.ts";
import { LineSplitter } from "./line-splitter.ts";

test("only JSON that can be written again is JSON", () => {
  const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
  expect(parseJson(nested(200))).toBeArray();
  expect(parseJson(nested(201))).toBeUndefined();
  expect(parseJson(nested(5_000_000))).toBeUndefined();
  expect(parseJson(`"${"[".repeat(1000)}\\"${"{".repeat(1000)}"`)).toBeString();
  for (const text of ["", "{", "'a'", "NaN", "\0", "{}x"]) expect(parseJson(text)).toBeUndefined();
});

test("objects only", () => {
  expect(parseObject(' {"a": 1}')).toEqual({ a: 1 });
  for (const line of ["[1]", "null", "1", '"{}"', "x {}"]) expect(parseObject(line)).toBeUndefined();
});

test("an error is never more than a text, a code and two answers", () => {
  const known = { code: "failed", retryable: true, started: true };
  const none = { ...known, message: "it failed and gave no reason" };
  expect(stepErrorOf({ message: "x".repeat(5000), code: "c".repeat(100), extra: 1 })).toEqual({
    ...known,
    message: `${"x".repeat(4096)}…`,
    code: "c".repeat(64),
  });
  for (const odd of [null, 5, [], {}, { message: 5, code: "", started: "no" }, undefined]) {
    expect(stepErrorOf(odd as never)).toEqual(none);
  }
});

test("what a line of a trigger says", () => {
  expect(readEventLine("hello")).toBeNull();
  expect(readEventLine('{"level": "info"}')).toBeNull();
  for (const nothing of ['{"events": []}', '{"events": 5}', "{}"]) expect(readEventLine(nothing)).toBeNull();
  expect(readEventLine('{"constructor": {"type": "x"}}')).toBeNull();
  expect(readEventLine('{"type": "a", "extra": 1}')).toEqual({
    events: [{ type: "a" }],
    checkpoint: undefined,
  });
  expect(readEventLine('{"events": [], "checkpoint": null}')).toEqual({ events: [], checkpoint: null });
  expect(readEventLine('{"checkpoint": 5}')).toEqual({ events: [], checkpoint: 5 });
  for (const line of ['{"type": 5}', '{"type": ""}', '{"events": [1]}', '{"type": "a", "time": "today"}']) {
    expect(() => readEventLine(line)).toThrow("an invalid event");
  }
});

test("lines do not depend on how the bytes come", () => {
  const bytes = Buffer.from("one\r\ntwö\n\nthree");
  for (let size = 1; size <= bytes.length; size++) {
    const splitter = new LineSplitter(100);
    const lines: string[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      for (const { text } of splitter.push(bytes.subarray(at, at + size))) lines.push(text);
    }
    for (const { text } of splitter.end()) lines.push(text);
    expect(lines).toEqual(["one", "twö", "", "three"]);
  }
  const short = new LineSplitter(4);
  expect(short.push(Buffer.from("abcd\nabcdef\n"))).toEqual([
    { text: "abcd", cutFrom: 0 },
    { text: "abcd", cutFrom: 6 },
  ]);
});
