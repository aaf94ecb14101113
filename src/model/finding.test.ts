import { describe, expect, test } from "bun:test";
import {
  changedFinding,
  FINDING_STATES,
  FINDING_TRANSITIONS,
  type FindingChange,
  type FindingExtra,
  type FindingState,
  MAX_NOTES,
} from "./finding.ts";

const CHANGES: FindingChange[] = [
  { kind: "acknowledge", by: "local:1" },
  { kind: "note", by: "local:1", text: "seen" },
  { kind: "resolve", by: "local:1", falsePositive: false, reason: "over" },
];
const LEGAL: Record<string, FindingState> = {
  "open acknowledge": "acknowledged",
  "open note": "open",
  "open resolve": "resolved",
  "acknowledged note": "acknowledged",
  "acknowledged resolve": "resolved",
  "resolved note": "resolved",
};

const finding = (state: FindingState, extra?: FindingExtra) => ({
  id: "f-1",
  state,
  resolvedMs: null as number | null,
  extra,
});

describe.each(FINDING_STATES)("%s", (state) => {
  test.each(CHANGES)("$kind", (change) => {
    const next = LEGAL[`${state} ${change.kind}`];
    expect(FINDING_TRANSITIONS[state][change.kind]).toBe(next!);
    if (next === undefined) {
      expect(() => changedFinding(finding(state), change, 7)).toThrow(
        expect.objectContaining({ code: "conflict", message: expect.stringContaining(`is ${state}`) }),
      );
    } else expect(changedFinding(finding(state), change, 7).state).toBe(next);
  });
});

test("who did what when is kept, and what was there before", () => {
  let row = changedFinding(finding("open", { resolveAtMs: 99 }), CHANGES[0]!, 1);
  row = changedFinding(row, CHANGES[1]!, 2);
  expect(row.extra?.resolveAtMs).toBe(99);
  row = changedFinding(row, { kind: "resolve", by: "local:2", falsePositive: true, reason: "a test" }, 3);
  row = changedFinding(row, { kind: "note", by: "local:3", text: "later" }, 4);
  expect(row).toEqual({
    id: "f-1",
    state: "resolved",
    resolvedMs: 3,
    extra: {
      acknowledged: { by: "local:1", atMs: 1 },
      notes: [
        { by: "local:1", atMs: 2, text: "seen" },
        { by: "local:3", atMs: 4, text: "later" },
      ],
      resolution: { kind: "false_positive", by: "local:2", reason: "a test" },
    },
  });
});

test("notes are bounded", () => {
  let row = finding("open");
  for (let i = 0; i < MAX_NOTES; i++) row = changedFinding(row, CHANGES[1]!, i);
  expect(() => changedFinding(row, CHANGES[1]!, 9)).toThrow("takes no more");
});
