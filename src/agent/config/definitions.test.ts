import { expect, test } from "bun:test";
import * as v from "valibot";
import { type ConfigInput, configSchema } from "../../model/config.ts";
import type { Effect } from "../../model/pipeline.ts";
import { pipelineDefinitions, ruleDefinitions } from "./definitions.ts";

const configOf = (input: ConfigInput) => v.parse(configSchema, input);

test("rules: lists, durations, defaults; disabled ones are there and say so", () => {
  const config = configOf({
    rules: [
      { name: "a", on: "front", when: "true", run: "p", cooldown: "1m30s", params: { x: 1 } },
      { name: "b", on: ["x", "y"], type: "probe.down", emit: { type: "t" }, enabled: false },
    ],
  });
  const [a, b] = ruleDefinitions(config);
  expect(a).toEqual({
    name: "a",
    enabled: true,
    namespace: "default",
    priority: 0,
    on: ["front"],
    types: [],
    when: "true",
    by: null,
    window: null,
    sequence: null,
    absence: null,
    debounceMs: 0,
    throttle: null,
    cooldownMs: 90_000,
    outcomes: [{ kind: "run", pipeline: "p", params: { x: 1 } }],
  });
  expect(b).toMatchObject({ enabled: false, on: ["x", "y"], types: ["probe.down"] });
  expect(b!.outcomes).toEqual([{ kind: "emit", type: "t", subject: null, severity: null, data: {} }]);
});

const effectOf = (action: string) => (action === "http" ? "idempotent" : "at-most-once") as Effect;

test("pipelines: every default is filled in, and the step's effect goes before the action's", () => {
  const config = configOf({
    pipelines: {
      p: {
        concurrency: 2,
        steps: [
          { id: "a", action: "http", retry: { attempts: 3, backoff: "linear", initial: "2s", max: "10s" } },
          { id: "b", action: "http", needs: ["a", "a"], effect: "ask", timeout: "1m" },
        ],
        on_failure: [{ id: "c", action: "exec" }],
        finally: [{ id: "d", action: "exec" }],
      },
    },
  });
  const p = pipelineDefinitions(config, effectOf).get("p")!;
  const { steps, onFailure, finally: last, ...rest } = p;
  expect(rest).toEqual({
    name: "p",
    namespace: "default",
    description: "",
    params: [],
    concurrency: 2,
    concurrencyByKey: null,
    priority: 0,
    deadlineMs: null,
    warnAfterMs: null,
    exclusive: null,
    sideEffectsPerHour: null,
    output: null,
  });
  expect(steps[0]).toEqual({
    id: "a",
    work: "action",
    action: "http",
    needs: [],
    when: null,
    foreach: null,
    with: {},
    timeoutMs: 30_000,
    deadlineMs: null,
    retry: { attempts: 3, kind: "linear", initialMs: 2000, maxMs: 10_000 },
    effect: "idempotent",
    undo: null,
    exclusive: null,
    breaker: null,
    approval: null,
  });
  expect(steps[1]).toMatchObject({ needs: ["a"], effect: "ask", timeoutMs: 60_000 });
  expect([...onFailure, ...last].map(({ id, effect }) => [id, effect])).toEqual([
    ["c", "at-most-once"],
    ["d", "at-most-once"],
  ]);
});

test("pipelines: what only some have", () => {
  const config = configOf({
    pipelines: {
      p: {
        params: { unit: { pattern: "[a-z]+" }, wait: { type: "duration", default: "5s" } },
        deadline: "1h",
        exclusive: { lock: "x" },
        concurrency_by_key: { key: "${{ params.unit }}" },
        steps: [
          { id: "a", pipeline: "q", foreach: "params.list", deadline: "1m" },
          { id: "b", approval: { text: "sure?" } },
          {
            id: "c",
            action: "http",
            foreach: { in: "params.list", concurrency: 3 },
            with: { url: "https://a.example/x" },
            undo: { action: "exec" },
          },
          { id: "d", action: "http", breaker: { destination: "db" } },
          {
            id: "e",
            action: "http",
            with: { url: "https://b.example" },
            breaker: { failures: 2, delay: "1m" },
          },
        ],
      },
    },
  });
  const p = pipelineDefinitions(config, effectOf).get("p")!;
  expect(p).toMatchObject({
    deadlineMs: 3_600_000,
    exclusive: { lock: "x", busy: "queue" },
    concurrencyByKey: { key: "${{ params.unit }}", limit: 1 },
  });
  expect(p.params.map(({ name, required, default: fallback }) => [name, required, fallback])).toEqual([
    ["unit", true, null],
    ["wait", false, "5s"],
  ]);
  const [a, b, c, d, e] = p.steps;
  expect(a).toMatchObject({
    work: "pipeline",
    action: "q",
    foreach: { in: "params.list", concurrency: 10 },
    deadlineMs: 60_000,
    effect: "idempotent",
  });
  expect(b).toMatchObject({
    work: "approval",
    approval: { text: "sure?", timeoutMs: 3_600_000, approvers: ["*"], strict: true },
  });
  expect(c).toMatchObject({
    foreach: { in: "params.list", concurrency: 3 },
    breaker: { destination: "https://a.example/x", failures: 5, delayMs: 30_000 },
    undo: { action: "exec", effect: "at-most-once", timeoutMs: 30_000 },
  });
  expect(d!.breaker).toEqual({ destination: "db", failures: 5, delayMs: 30_000 });
  expect(e!.breaker).toEqual({ destination: "https://b.example", failures: 2, delayMs: 60_000 });
});
