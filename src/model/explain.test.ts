import { describe, expect, test } from "bun:test";
import { pipeline, step } from "../testing/definitions.ts";
import { type ConfigOrigin, hashedText, type WorkerFacts } from "./attempt-facts.ts";
import type { CloudEvent } from "./event.ts";
import { explain } from "./explain.ts";
import type { ExplainFacts } from "./explanation.ts";
import type { AttemptRow, RunRow, StepRow } from "./run.ts";
import { stepRow } from "./run-rows.ts";

const RULE = { name: "r", on: "front", run: "p" };
const RULE_TEXT = hashedText(RULE);
const CONFIG: ConfigOrigin = {
  config: "conf-1",
  triggers: { front: "http-probe" },
  rules: { r: RULE_TEXT.hash },
};
const WORKER: WorkerFacts = {
  plugin: "exec",
  version: "shipped with 1.0.0",
  granted: { sandbox: "on", permissions: {}, resources: {}, narrowed: [], hidden: [] },
  protections: null,
};

const EVENT: CloudEvent = {
  specversion: "1.0",
  id: "e-1",
  source: "urn:holdfast:agent:web-01/front",
  type: "probe.down",
  time: "2026-01-01T00:00:00.000Z",
  data: { failures: 3 },
};

function run(more: Partial<RunRow> = {}): RunRow {
  return {
    ...{ id: "run-1", pipeline: "p", definition: "d-1", rule: "r", starter: { kind: "rule", by: "r" } },
    ...{ eventSource: EVENT.source, eventId: EVENT.id, params: {}, priority: 0, concurrencyKey: null },
    ...{ parent: null, retryOf: null, state: "failed", reason: "step a is uncertain", stop: null },
    ...{ deadlineMs: null, output: null, createdMs: 0, startedMs: 1000, endedMs: 2000, config: "c-1" },
    ...more,
  };
}

function row(id: string, more: Partial<StepRow> = {}): StepRow {
  return { ...stepRow("run-1", "steps", id, 0, null), state: "uncertain", attempts: 1, ...more };
}

function attempt(more: Partial<AttemptRow> = {}): AttemptRow {
  return {
    ...{ runId: "run-1", stepId: "a", number: 1, fence: 1, state: "unknown", startedMs: 1000, endedMs: 1500 },
    error: { code: "memory", message: "memory: 131 MB used", retryable: true, started: true },
    facts: {
      worker: "w-1",
      ended: { cause: "memory", text: "memory: 131 MB used", memory: 137e6, cpu: 300 },
    },
    ...more,
  };
}

function told(more: Partial<ExplainFacts> = {}) {
  return explain({
    ...{ agent: "web-01", number: 7, run: run(), steps: [row("a")], attempts: [attempt()], step: undefined },
    ...{ definition: pipeline([step("a", { action: "exec" })]), from: [], configs: { "c-1": CONFIG } },
    ...{ events: [{ source: EVENT.source, id: EVENT.id, event: EVENT }], workers: { "w-1": WORKER } },
    ...{ rules: { [RULE_TEXT.hash]: RULE }, now: CONFIG, heldBack: null },
    userName: (uid) => (uid === 1000 ? "anna" : undefined),
    ...more,
  });
}

describe("a run that a rule started", () => {
  test("is told from its attempt to the event and the configuration; nothing is missing", () => {
    const { steps, rule, events, config, started, missing } = told();
    expect(steps).toMatchObject([{ step: "a", action: "exec", done: "maybe", key: "run-1/a", words: [] }]);
    expect(steps[0]!.attempts).toMatchObject([
      { number: 1, state: "unknown", worker: WORKER, ended: { cause: "memory", memory: 137e6 } },
    ]);
    expect(rule).toEqual({ name: "r", version: RULE_TEXT.hash, now: "same", text: RULE });
    expect(events).toMatchObject([
      {
        trigger: "front",
        plugin: "http-probe",
        type: "probe.down",
        data: { failures: 3 },
        hops: 0,
        rule: null,
      },
    ]);
    expect(config).toEqual({ hash: "conf-1", inForce: true });
    expect(started).toEqual({ kind: "rule", by: "r", user: null, schedule: null });
    expect(missing).toEqual([]);
  });

  test.each([
    ["same", CONFIG, "same", true],
    ["changed", { ...CONFIG, config: "conf-2", rules: { r: "other" } }, "changed", false],
    ["gone", { ...CONFIG, config: "conf-2", rules: {} }, "gone", false],
    ["not known, where nothing runs", null, null, null],
  ] as const)("how the rule stands now: %s", (_, now, standing, inForce) => {
    const { rule, config } = told({ now });
    expect([rule!.now, config!.inForce]).toEqual([standing, inForce]);
  });

  test("an event that a rule emitted names that rule, as it stood in the same configuration", () => {
    const emitted = { ...EVENT, source: "urn:holdfast:agent:web-01/rule:r", id: "e-2", hops: 1 };
    const { events } = told({ events: [{ source: emitted.source, id: "e-2", event: emitted }] });
    expect(events).toMatchObject([{ trigger: "rule:r", rule: { name: "r", text: RULE }, hops: 1 }]);
  });
});

describe("what cannot be told is said", () => {
  test.each<[string, Partial<ExplainFacts>, RegExp[]]>([
    [
      "a run of an older version",
      { run: run({ config: undefined! }), attempts: [attempt({ facts: undefined! })] },
      [/^the configuration/, /^the text of rule r as it stood then/, /^what carried out step a/],
    ],
    ["a rule's text that is lost", { rules: {} }, [/^the text of rule r/]],
    [
      "an event that was trimmed",
      { events: [{ source: EVENT.source, id: "e-1", event: null }] },
      [/^event e-1: gone from the history/],
    ],
    [
      "a run that was trimmed",
      { from: [{ id: "run-0", step: null, relation: "retry", row: null }] },
      [/^run run-0: gone from the history/],
    ],
    ["no event at all", { events: [] }, [/^the event that its rule looked at/]],
    [
      "an attempt under way misses nothing",
      { attempts: [attempt({ state: "running", facts: undefined! })] },
      [],
    ],
  ])("%s", (_, more, patterns) => {
    const { missing } = told(more);
    expect(missing.length, missing.join("; ")).toBe(patterns.length);
    for (const [index, pattern] of patterns.entries()) expect(missing[index]).toMatch(pattern);
  });
});

describe("people", () => {
  test("an approval has who, when and the note", () => {
    const asked = { text: "Now?", approvers: ["*"], strict: false, by: "local:1000", note: "go" };
    const ask = row("a", { state: "succeeded", attempts: 0, endedMs: 5000, extra: { approval: asked } });
    const { steps } = told({ steps: [ask], attempts: [] });
    expect(steps[0]!.words).toEqual([
      { by: "local:1000", user: "anna", approved: true, at: "1970-01-01T00:00:05.000Z", note: "go" },
    ]);
    expect(steps[0]!.done).toBe("no");
  });

  test("words on unknown attempts are told in their order; who is not known here has no name", () => {
    const decisions = [
      { by: "local:7", approve: true, note: "again", atMs: 1000 },
      { by: "local:1000", approve: false, note: "", atMs: 2000 },
    ];
    const { steps } = told({ steps: [row("a", { extra: { decisions } })] });
    expect(steps[0]!.words.map(({ by, user, approved }) => [by, user, approved])).toEqual([
      ["local:7", null, true],
      ["local:1000", "anna", false],
    ]);
  });

  test.each<[string, Partial<RunRow>, object]>([
    [
      "a person",
      { starter: { kind: "manual", by: "local:1000" } },
      { kind: "manual", user: "anna", schedule: null },
    ],
    [
      "a schedule",
      { starter: { kind: "schedule", by: "nightly" } },
      { kind: "schedule", schedule: "nightly" },
    ],
    [
      "a step that had put it off",
      { starter: { kind: "schedule", by: "later-1" }, parent: { run: "run-0", step: "s", key: "k" } },
      { kind: "schedule", by: "later-1", schedule: null },
    ],
  ])("started by %s", (_, more, wanted) => {
    expect(told({ run: run({ rule: null, ...more }) }).started).toMatchObject(wanted);
  });
});

describe("whether a side effect was made", () => {
  const error = { code: "failed", message: "no", retryable: true, started: false };
  test.each<[string, AttemptRow[], string]>([
    [
      "a success",
      [attempt({ state: "failed" }), attempt({ number: 2, state: "succeeded", error: null })],
      "yes",
    ],
    ["only attempts that vouch for nothing", [attempt({ state: "failed", error })], "no"],
    [
      "an error after it had begun",
      [attempt({ state: "failed", error: { ...error, started: true } })],
      "maybe",
    ],
    ["no result", [attempt()], "maybe"],
    ["no attempt", [], "no"],
  ])("%s", (_, attempts, done) => {
    expect(told({ attempts }).steps[0]!.done).toBe(done as never);
  });
});

describe("what held it back", () => {
  test.each<[string, Partial<ExplainFacts>, string | null, string | null]>([
    ["nothing", {}, null, null],
    [
      "the brake, a step",
      {
        steps: [row("a", { state: "queued" })],
        heldBack: { reason: "the brake", whole: false, steps: ["a"] },
      },
      null,
      "the brake",
    ],
    [
      "the brake, the whole run",
      { steps: [row("a", { state: "queued" })], heldBack: { reason: "the brake", whole: true, steps: [] } },
      "the brake",
      "the brake",
    ],
    [
      "a limit",
      {
        steps: [
          row("a", {
            state: "failed",
            error: { code: "limited", message: "60 an hour", retryable: false, started: false },
          }),
        ],
      },
      null,
      "limited: 60 an hour",
    ],
    [
      "a limit, before it had begun",
      {
        run: run({ state: "skipped", stop: { state: "skipped", by: "limits", reason: "60 an hour" } }),
        steps: [],
        attempts: [],
      },
      "60 an hour",
      null,
    ],
  ])("%s", (_, more, ofRun, ofStep) => {
    const { run: shown, steps } = told(more);
    expect([shown.held, steps[0]?.held ?? null]).toEqual([ofRun, ofStep]);
  });
});

test("one step can be asked for, and a row that its pipeline does not know is told all the same", () => {
  const steps = [row("a"), row("strange", { position: 1 })];
  expect(told({ steps, step: "strange" }).steps).toMatchObject([{ step: "strange", action: "-" }]);
  expect(told({ steps }).steps.map(({ step: id }) => id)).toEqual(["a", "strange"]);
});

test("a run that another one began has the rule as it stood when that one was made", () => {
  const above = run({ id: "run-0", config: "c-0" });
  const child = run({
    starter: { kind: "parent", by: "run-0" },
    parent: { run: "run-0", step: "s", key: "k" },
  });
  const { rule, from } = told({
    run: child,
    from: [{ id: "run-0", step: "s", relation: "parent", row: above }],
    configs: { "c-1": { ...CONFIG, rules: { r: "new" } }, "c-0": CONFIG },
  });
  expect(rule!.version).toBe(RULE_TEXT.hash);
  expect(from).toMatchObject([{ id: "run-0", relation: "parent", gone: false, pipeline: "p" }]);
});
