import { expect, test } from "bun:test";
import { type BatchProblem, batchOutcome, parsePartial } from "./output-batch.ts";

const problem = (more: Partial<BatchProblem>): BatchProblem => ({
  ...{ message: "no", code: "failed", retryable: true, taken: 0, rejected: [] },
  ...more,
});
const bad = (index: number) => ({ index, reason: "bad" });

test.each([
  ["success", 3, null, { taken: 3, rejected: [], next: "go_on" }],
  ["a destination that fails", 3, problem({}), { taken: 0, rejected: [], next: "wait" }],
  ["refused for good, by many", 3, problem({ retryable: false }), { taken: 0, rejected: [], next: "split" }],
  [
    "refused for good, alone",
    1,
    problem({ retryable: false }),
    { taken: 1, rejected: [{ index: 0, reason: "no" }], next: "go_on" },
  ],
  [
    "a denial is not about the event",
    1,
    problem({ retryable: false, code: "denied" }),
    { taken: 0, rejected: [], next: "wait" },
  ],
  ["the front of it", 3, problem({ taken: 2 }), { taken: 2, rejected: [], next: "wait" }],
  [
    "the front of it, and the rest may come",
    3,
    problem({ taken: 2, retryable: false }),
    { taken: 2, rejected: [], next: "go_on" },
  ],
  [
    "all but one for good",
    3,
    problem({ taken: 2, rejected: [bad(2)] }),
    { taken: 2, rejected: [bad(2)], next: "go_on" },
  ],
  ["one in the middle", 3, problem({ rejected: [bad(1)] }), { taken: 0, rejected: [bad(1)], next: "wait" }],
  [
    "numbers that cannot be",
    2,
    problem({ taken: 9, rejected: [bad(5), bad(1), bad(1)] }),
    { taken: 2, rejected: [bad(1)], next: "go_on" },
  ],
] as const)("%s", (_, size, given, expected) => {
  expect(batchOutcome(size, given as BatchProblem | null)).toEqual(expected as never);
});

test("what a plugin tells is checked", () => {
  expect(parsePartial({ taken: 2 })).toEqual({ taken: 2, rejected: [] });
  expect(parsePartial({ rejected: [{ index: 1 }] })).toEqual({
    taken: 0,
    rejected: [{ index: 1, reason: "no reason given" }],
  });
  for (const wrong of [null, [], "2", { taken: -1 }, { taken: 1.5 }, { rejected: [{}] }, { rejected: 1 }])
    expect(parsePartial(wrong as never)).toBeUndefined();
});
