import { describe, expect, test } from "bun:test";
import { hashedText } from "../../model/attempt-facts.ts";
import { type CloudEvent, eventSource } from "../../model/event.ts";
import type { RunRow } from "../../model/run.ts";
import { pipeline, step } from "../../testing/definitions.ts";
import type { FoundRun } from "./control-ports.ts";
import { type ExplainPorts, explainRun } from "./explain-run.ts";

const RULE = hashedText({ name: "r", when: "true" });
const CONFIG = hashedText({ config: "conf", triggers: { app: "file-tail" }, rules: { r: RULE.hash } });

function event(id: string, trigger: string, more: Partial<CloudEvent> = {}): CloudEvent {
  const source = eventSource("web-01", trigger);
  return { ...{ specversion: "1.0", id, source, type: "x", time: "2026-01-01T00:00:00Z" }, ...more };
}

function found(id: string, more: Partial<RunRow> = {}): FoundRun {
  const run: RunRow = {
    ...{ id, pipeline: "p", definition: "d", rule: null, starter: { kind: "manual", by: "local:0" } },
    ...{ eventSource: null, eventId: null, params: {}, priority: 0, concurrencyKey: null, parent: null },
    ...{ retryOf: null, state: "succeeded", reason: null, stop: null, deadlineMs: null, output: null },
    ...{ createdMs: 1, startedMs: 1, endedMs: 2, ...more },
  };
  return { number: 1, run, steps: [], attempts: [], definition: pipeline([step("a")]) };
}

/** A history that can be looked into, and nothing else. */
function history(
  runs: FoundRun[],
  events: CloudEvent[] = [],
  texts: Record<string, string> = {},
): ExplainPorts {
  return {
    agent: "web-01",
    store: {
      run: async (id) => runs.find(({ run }) => run.id === id) ?? null,
      event: async (source, id) => events.find((each) => each.source === source && each.id === id) ?? null,
      eventsById: async (id) => events.filter((each) => each.id === id),
      texts: async (hashes) =>
        Object.fromEntries(
          hashes.flatMap((hash) => (texts[hash] === undefined ? [] : [[hash, texts[hash]!]])),
        ),
    },
    origin: () => null,
    heldBack: () => null,
  };
}

async function told(runs: FoundRun[], events: CloudEvent[] = [], texts: Record<string, string> = {}) {
  return await explainRun(history(runs, events, texts), runs[0]!, undefined);
}

const about = (of: CloudEvent) => ({ eventSource: of.source, eventId: of.id });
const parent = (run: string) => ({ run, step: "s", key: `${run}/s` });

describe("the runs behind a run", () => {
  test("a step that waits, one that does not, one that put it off, a person who repeated it", async () => {
    const runs = [
      found("run-5", { starter: { kind: "parent", by: "run-4" }, parent: parent("run-4") }),
      found("run-4", { starter: { kind: "spawn", by: "run-3" }, parent: parent("run-3") }),
      found("run-3", { starter: { kind: "schedule", by: "later-1" }, parent: parent("run-2") }),
      found("run-2", { starter: { kind: "retry", by: "local:0" }, retryOf: "run-1" }),
      found("run-1"),
    ];
    const { from, missing } = await told(runs);
    expect(from.map(({ id, relation, step: of }) => [id, relation, of])).toEqual([
      ["run-4", "parent", "s"],
      ["run-3", "spawn", "s"],
      ["run-2", "later", "s"],
      ["run-1", "retry", null],
    ]);
    expect(missing.filter((what) => what.startsWith("run "))).toEqual([]);
  });

  test("one that is gone ends the chain and is said", async () => {
    const { from, missing } = await told([
      found("run-2", { retryOf: "run-1", starter: { kind: "retry", by: "x" } }),
    ]);
    expect(from).toMatchObject([{ id: "run-1", gone: true, pipeline: null }]);
    expect(missing.join()).toContain("run run-1: gone from the history");
  });

  test("damaged rows that go in a circle end", async () => {
    const runs = [found("run-1", { retryOf: "run-2" }), found("run-2", { retryOf: "run-1" })];
    expect((await told(runs)).from.map(({ id }) => id)).toEqual(["run-2", "run-1"]);
  });
});

describe("the events behind a run", () => {
  const line = event("e-1", "app");
  const derived = event("e-2", "rule:r", { causationid: "e-1", hops: 1 });

  test("to the first cause, with the rules and plugins of the configuration of then", async () => {
    const run = found("run-1", { ...about(derived), rule: "r", config: CONFIG.hash });
    const texts = { [CONFIG.hash]: CONFIG.text, [RULE.hash]: RULE.text };
    const { events, rule, missing } = await told([run], [line, derived], texts);
    expect(events).toMatchObject([
      { id: "e-2", rule: { name: "r", version: RULE.hash } },
      { id: "e-1", trigger: "app", plugin: "file-tail", rule: null },
    ]);
    expect(rule).toMatchObject({ version: RULE.hash, text: { name: "r" } });
    expect(missing).toEqual([]);
  });

  test("a child tells those of the run above it", async () => {
    const child = found("run-2", { parent: parent("run-1"), starter: { kind: "parent", by: "run-1" } });
    const { events } = await told([child, found("run-1", about(line))], [line]);
    expect(events.map(({ id }) => id)).toEqual(["e-1"]);
  });

  test("a cause that is gone is told with its id; of several with this id it is one nearer to the beginning", async () => {
    const run = found("run-1", about(derived));
    expect((await told([run], [derived])).events).toMatchObject([
      { id: "e-2", gone: false },
      { id: "e-1", gone: true, type: null },
    ]);
    const later = event("e-1", "other", { hops: 1 });
    const { events } = await told([run], [derived, later, line]);
    expect(events[1]).toMatchObject({ trigger: "app" });
  });

  test("texts that are damaged count as lost", async () => {
    const run = found("run-1", { ...about(line), rule: "r", config: CONFIG.hash });
    const { rule, config, missing } = await told([run], [line], { [CONFIG.hash]: "{oops" });
    expect([rule!.text, config]).toEqual([null, null]);
    expect(missing.length).toBe(2);
  });
});
