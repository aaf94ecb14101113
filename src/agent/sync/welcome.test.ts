import { expect, test } from "bun:test";
import type { Welcome } from "../../protocol/gen/holdfast/v1/sync.ts";
import { cursorsOf } from "./welcome.ts";

const cursor = { epoch: "e", lane: 2, segment: 1, number: 3n, hash: Buffer.alloc(32, 7) };
const welcome: Welcome = {
  ...{ protocol: 1, capabilities: [], hubId: "hub", epoch: "h", wallMs: 0n, cursors: [cursor] },
  ...{ receiptCertificates: [], backlogBytesPerSecond: 0n },
};

test("a welcome gives its cursors", () => {
  expect(cursorsOf(welcome)).toEqual([{ ...cursor, number: 3 }]);
});

const cases: [problem: RegExp, change: Partial<Welcome>][] = [
  [/its id has 0 characters/, { hubId: "" }],
  [/its id has 65 characters/, { hubId: "x".repeat(65) }],
  [/its epoch has 0 characters/, { epoch: "" }],
  [/10001 cursors/, { cursors: Array.from({ length: 10_001 }, () => cursor) }],
  [/the hash is not 32 bytes/, { cursors: [{ ...cursor, hash: Buffer.alloc(31) }] }],
  [/there is no lane 0/, { cursors: [{ ...cursor, lane: 0 }] }],
  [/number is too large/, { cursors: [{ ...cursor, number: 2n ** 60n }] }],
];
test.each(cases)("%p is refused", (problem, change) => {
  expect(() => cursorsOf({ ...welcome, ...change })).toThrow(problem);
});
