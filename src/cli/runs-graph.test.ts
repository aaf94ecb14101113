import { describe, expect, test } from "bun:test";
import { shownRun, type ShownStep } from "./runs-detail.ts";
import { graphRows } from "./runs-graph.ts";
import { ASCII_MARKS, BOX_MARKS, marksFor } from "./runs-marks.ts";

type Given = Partial<Omit<ShownStep, "origin">> & { step: string; origin?: object };

function steps(given: Given[]): ShownStep[] {
  const filled = given.map((step, position) => ({
    position,
    part: "steps",
    action: "exec",
    effect: "idempotent",
    needs: [],
    state: "succeeded",
    attempts: 1,
    key: `r/${step.step}`,
    startedAt: null,
    endedAt: null,
    output: null,
    error: null,
    reason: null,
    ...step,
  }));
  const run = {
    n: 1,
    agent: "a",
    id: "r",
    pipeline: "p",
    rule: null,
    state: "running",
    reason: null,
    event: null,
  };
  return shownRun({ ...run, createdAt: "x", startedAt: null, endedAt: null, steps: filled }).steps;
}

function picture(given: Given[], marks = BOX_MARKS): string[] {
  const { rows } = graphRows(steps(given), marks);
  return rows.map(({ graph, step }) => (step === null ? graph : `${graph} ${step.step}`));
}

describe("the graph of a run's steps", () => {
  test("one after the other", () => {
    expect(picture([{ step: "a" }, { step: "b", needs: ["a"], state: "running" }])).toEqual(["✓ a", "▸ b"]);
  });

  test("a diamond, in both kinds of characters", () => {
    const diamond: Given[] = [
      { step: "a" },
      { step: "b", needs: ["a"], state: "failed" },
      { step: "c", needs: ["a"], state: "running" },
      { step: "d", needs: ["b", "c"], state: "waiting" },
    ];
    expect(picture(diamond)).toEqual(["✓ a", "├─┐", "✗ │ b", "│ ▸ c", "├─┘", "○ d"]);
    expect(picture(diamond, ASCII_MARKS)).toEqual(["* a", "+-.", "x | b", "| > c", "+-'", "o d"]);
  });

  test("three branches of different length, and a step that nothing needs", () => {
    const given: Given[] = [
      { step: "a" },
      { step: "b", needs: ["a"] },
      { step: "c", needs: ["a"] },
      { step: "d", needs: ["a"] },
      { step: "e", needs: ["c"] },
      { step: "f", needs: ["b", "d", "e"] },
      { step: "alone", state: "skipped" },
    ];
    expect(picture(given)).toEqual([
      "✓ a",
      "├─┬─┐",
      "✓ │ │ b",
      "│ ✓ │ c",
      "│ │ ✓ d",
      "│ ✓ │ e",
      "├─┴─┘",
      "✓ f",
      "",
      "· alone",
    ]);
  });

  test("a line that goes beside others passes them", () => {
    const given: Given[] = [
      { step: "a" },
      { step: "b" },
      { step: "c", needs: ["a"] },
      { step: "d", needs: ["b"] },
      { step: "e", needs: ["a", "d"] },
    ];
    expect(picture(given)).toEqual(["✓ a", "├─┐", "│ │ ✓ b", "✓ │ │ c", "  │ ✓ d", "  ├─┘", "  ✓ e"]);
  });

  test("no line for what follows from others", () => {
    const given: Given[] = [{ step: "a" }, { step: "b", needs: ["a"] }, { step: "c", needs: ["a", "b"] }];
    expect(picture(given)).toEqual(["✓ a", "✓ b", "✓ c"]);
  });

  test("what a step added comes in its place: A, B, B1, C, then what needs A", () => {
    const given: Given[] = [
      { step: "a" },
      { step: "z", needs: ["a"], state: "waiting" },
      { step: "a+1", origin: { addedBy: "a" } },
      { step: "a+2", origin: { addedBy: "a" }, state: "waiting" },
      { step: "a+1+1", origin: { addedBy: "a+1" }, state: "running" },
    ];
    expect(picture(given)).toEqual(["✓ a", "✓ a+1", "▸ a+1+1", "○ a+2", "○ z"]);
  });

  test("items stand below their step, beside other branches", () => {
    const item = (index: number, state = "succeeded"): Given => ({
      step: `b[${index}]`,
      origin: { foreach: { step: "b", index } },
      state,
    });
    const given: Given[] = [
      { step: "a" },
      { step: "b", needs: ["a"], state: "running" },
      { step: "c", needs: ["a"] },
      item(10, "queued"),
      item(0),
    ];
    expect(picture(given)).toEqual(["✓ a", "├─┐", "▸ │ b", "  │ ├ ✓ b[0]", "  │ └ ○ b[10]", "  ✓ c"]);
  });

  test("too many branches are a list", () => {
    const given: Given[] = [
      { step: "a" },
      ...Array.from({ length: 40 }, (_, index): Given => ({ step: `b${index}`, needs: ["a"] })),
    ];
    const { drawn, rows } = graphRows(steps(given), BOX_MARKS);
    expect(drawn).toBe(false);
    expect(rows.map(({ graph }) => graph)).toEqual(Array.from({ length: 41 }, () => "✓"));
  });

  test("a chain of a thousand steps", () => {
    const given = Array.from({ length: 1000 }, (_, index): Given => ({
      step: `s${index}`,
      needs: index === 0 ? [] : [`s${index - 1}`],
    }));
    expect(graphRows(steps(given.toReversed()), BOX_MARKS).rows.at(-1)?.step?.step).toBe("s999");
  });
});

test("box characters are for locales that have them", () => {
  expect(marksFor({ LANG: "en_US.UTF-8" })).toBe(BOX_MARKS);
  expect(marksFor({ LANG: "C.utf8" })).toBe(BOX_MARKS);
  expect(marksFor({ LANG: "en_US.UTF-8", LC_ALL: "C" })).toBe(ASCII_MARKS);
  expect(marksFor({})).toBe(ASCII_MARKS);
});
