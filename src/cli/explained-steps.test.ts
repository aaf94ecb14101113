import { describe, expect, test } from "bun:test";
import type { ShownExplainedStep, ShownExplanation } from "./client/explain-schema.ts";
import { explanationLines } from "./runs-explain.ts";

const AT = "2026-01-01T00:00:00.000Z";
const NOW = Date.parse("2026-01-01T00:01:00.000Z");
type Attempt = ShownExplainedStep["attempts"][number];

const WORKER: NonNullable<Attempt["worker"]> = {
  plugin: "exec",
  version: "shipped with 1.0.0",
  granted: {
    ...{ sandbox: "on", permissions: { read: ["/srv"] }, narrowed: ["write /etc"], hidden: [] },
    resources: { memory: "64MB", cpu: "1 core", disk: "1GB" },
  },
  protections: { filesystem: "enforced", limits: "partial" },
};

function attempt(number: number, more: Partial<Attempt> = {}): Attempt {
  const error = { code: "failed", message: "no" };
  return { number, state: "failed", startedAt: AT, endedAt: AT, error, worker: WORKER, ended: null, ...more };
}

function step(id: string, more: Partial<ShownExplainedStep> = {}): ShownExplainedStep {
  return {
    ...{ step: id, part: "steps", action: "exec", work: "action", effect: "idempotent", state: "succeeded" },
    ...{ reason: null, key: `run-1/${id}`, done: "yes", startedAt: AT, endedAt: AT, attempts: [attempt(1)] },
    ...{ approval: null, words: [], child: null, held: null, ...more },
  };
}

function told(steps: ShownExplainedStep[], more: Partial<ShownExplanation> = {}): ShownExplanation {
  return {
    agent: "web-01",
    run: {
      ...{ n: 1, id: "run-1", pipeline: "p", version: "abc", state: "failed", reason: null, params: {} },
      ...{
        priority: 0,
        concurrencyKey: null,
        stop: null,
        createdAt: AT,
        startedAt: AT,
        endedAt: AT,
        held: null,
      },
    },
    steps,
    started: { kind: "manual", by: "local:0", user: "root", schedule: null },
    ...{ rule: null, events: [], from: [], config: null, missing: [], ...more },
  };
}

const lines = (shown: ShownExplanation, whole = false) => explanationLines(shown, NOW, whole);

test("the same worker is told once, another one anew", () => {
  const other = { ...WORKER, version: "sha256 12" };
  const attempts = [attempt(1), attempt(2), attempt(3, { worker: other })];
  const shown = lines(told([step("a", { state: "dead", attempts })]), true).filter((line) =>
    /by exec|may:/.test(line),
  );
  expect(shown.map((line) => line.trim())).toEqual([
    "by exec, shipped with 1.0.0; its process goes on",
    "may: read /srv",
    "by exec, shipped with 1.0.0 as before; its process goes on",
    "by exec, sha256 12; its process goes on",
    "may: read /srv",
  ]);
});

test("of a hundred steps that failed in ten attempts each it is one screen, with what is left out", () => {
  const attempts = Array.from({ length: 10 }, (_, index) => attempt(index + 1));
  const many = Array.from({ length: 100 }, (_, index) => step(`s${index}`, { state: "dead", attempts }));
  const shown = lines(told(many));
  expect(shown.length).toBeLessThanOrEqual(40);
  expect(shown).toContain("  and 92 more steps   (holdfast runs show run-1)");
  expect(shown.filter((line) => line === "    8 earlier attempts failed").length).toBe(2);
});

describe("a step", () => {
  test.each<[string, Partial<ShownExplainedStep>, string]>([
    ["that did nothing", { state: "failed", done: "no" }, "failed at 2026-01-01T00:00:00, nothing was done"],
    ["of which nobody knows", { state: "uncertain", done: "maybe" }, "nobody can say what was done"],
    [
      "that is held back",
      { state: "queued", attempts: [], held: "the brake is on" },
      "held back: the brake is on",
    ],
    ["that asks", { work: "approval", attempts: [], approval: { text: "Now?" } }, "asked: Now?"],
    ["of a pipeline", { work: "pipeline", action: "leaf", attempts: [] }, "s: pipeline leaf, succeeded"],
    [
      "whose worker is not known",
      { attempts: [attempt(1, { worker: null })], state: "failed", done: "maybe" },
      "attempt 1 at 2026-01-01T00:00:00, took 0ms: failed, failed: no",
    ],
    [
      "whose worker was not confined",
      { attempts: [attempt(1, { worker: { ...WORKER, granted: { ...WORKER.granted, sandbox: "off" } } })] },
      "NOT CONFINED",
    ],
  ])("%s", (_, more, wanted) => {
    expect(lines(told([step("s", more)])).join("\n")).toContain(wanted);
  });

  test("what it printed moves no cursor", () => {
    const error = { code: "failed", message: "\u001b[2Jgone\nRun succeeded" };
    const shown = lines(told([step("s", { state: "failed", attempts: [attempt(1, { error })] })]));
    expect(shown.join("\n")).toContain("failed: gone Run succeeded");
  });
});

test("a chain of events is told with its beginning, and what is between is counted", () => {
  const events = Array.from({ length: 9 }, (_, index) => ({
    ...{
      source: "urn:x",
      id: `e-${index}`,
      gone: false,
      trigger: "app",
      plugin: null,
      rule: null,
      type: "t",
    },
    ...{ subject: null, severity: null, time: AT, data: null, hops: 8 - index },
  }));
  const shown = lines(told([], { events })).filter((line) => /event/.test(line));
  expect(shown.map((line) => /e-\d|… \d/.exec(line)![0])).toEqual([
    "e-0",
    "e-1",
    "e-2",
    "e-3",
    "e-4",
    "… 3",
    "e-8",
  ]);
});

test("what is not known is said at the end", () => {
  expect(lines(told([], { missing: ["event e-1: gone"] })).slice(-2)).toEqual([
    "Not known",
    "  event e-1: gone",
  ]);
});
