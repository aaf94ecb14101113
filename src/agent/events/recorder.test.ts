import { describe, expect, test } from "bun:test";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { silentLogger } from "../../core/logger.ts";
import type { RuleDefinition } from "../../model/pipeline.ts";
import { newRun } from "../../model/run-build.ts";
import { RuleSet } from "../rules/rule-set.ts";
import { EventRecorder, type EventStorePort, type RunsPort } from "./recorder.ts";

const rule: RuleDefinition = {
  name: "r",
  on: ["t"],
  types: [],
  when: "event.data.n > 1",
  run: "p",
  cooldownMs: 1000,
  params: {},
};
const definition = { name: "p", namespace: "default", concurrency: 1, steps: [], onFailure: [] };

function setUp(options: { duplicates?: number[]; fail?: boolean; noPipeline?: boolean } = {}) {
  const commits: Parameters<EventStorePort["commitEvents"]>[0][] = [];
  const admitted: string[] = [];
  const rules = new RuleSet([rule], {}, { id: "web-01", labels: {} });
  const runs: RunsPort = {
    room: async () => {},
    build(pipeline, ruleName, event, params) {
      if (options.noPipeline) throw new Error(`no pipeline ${pipeline}`);
      return newRun({
        id: "run",
        definition,
        definitionHash: "h",
        rule: ruleName,
        event,
        params,
        createdMs: 1,
      });
    },
    admit: (made) => void admitted.push(...made.map((item) => item.run.rule!)),
  };
  const store: EventStorePort = {
    async commitEvents(commit) {
      commits.push(commit);
      if (options.fail) throw new Error("disk full");
      return { duplicates: options.duplicates ?? [] };
    },
  };
  const recorder = new EventRecorder({
    agentId: "web-01",
    store,
    rules,
    runs,
    clock: systemClock(),
    ids: systemIds(),
    log: silentLogger(),
    maxEventBytes: 1000,
  });
  return { recorder, commits, admitted, rules };
}

describe("the recorder", () => {
  test("commits events, their runs and the checkpoint together, then admits the runs", async () => {
    const { recorder, commits, admitted } = setUp();
    await recorder.record(
      "t",
      [
        { type: "a", data: { n: 1 } },
        { type: "b", id: "fixed", subject: "s", data: { n: 2 } },
      ],
      { at: 9 },
    );
    expect(commits).toHaveLength(1);
    const [commit] = commits;
    expect(commit).toMatchObject({ trigger: "t", checkpoint: { at: 9 }, runs: [{ event: 1, rule: "r" }] });
    expect(JSON.parse(commit!.events[1]!.body)).toMatchObject({
      specversion: "1.0",
      id: "fixed",
      source: "urn:holdfast:agent:web-01/t",
      type: "b",
      subject: "s",
      data: { n: 2 },
    });
    expect(admitted).toEqual(["r"]);
    expect(recorder.counters).toEqual({ events: 2, duplicates: 0, refused: 0, commits: 1 });
  });

  test("a duplicate starts no run and gives the cooldown back", async () => {
    const { recorder, admitted, rules } = setUp({ duplicates: [0] });
    await recorder.record("t", [{ type: "a", data: { n: 2 } }], undefined);
    expect(admitted).toEqual([]);
    expect(recorder.counters.duplicates).toBe(1);
    const event = { specversion: "1.0", id: "1", source: "s", type: "a", time: "", data: { n: 2 } } as const;
    expect(rules.match("t", event, systemClock().trusted())).toHaveLength(1);
  });

  test("a failed commit refuses the emit and gives the cooldown back", async () => {
    const { recorder, admitted, rules } = setUp({ fail: true });
    await expect(recorder.record("t", [{ type: "a", data: { n: 2 } }], undefined)).rejects.toThrow(
      "disk full",
    );
    expect(admitted).toEqual([]);
    expect(recorder.counters.refused).toBe(1);
    const event = { specversion: "1.0", id: "1", source: "s", type: "a", time: "", data: { n: 2 } } as const;
    expect(rules.match("t", event, systemClock().trusted())).toHaveLength(1);
  });

  test("an event over the limit is refused, and nothing of its emit is kept", async () => {
    const { recorder, commits } = setUp();
    const emit = recorder.record("t", [{ type: "a" }, { type: "b", data: "x".repeat(2000) }], undefined);
    await expect(emit).rejects.toThrow("more than limits.event_size (1000)");
    expect(commits).toHaveLength(0);
  });

  test("a rule whose pipeline is gone does not cost the event", async () => {
    const { recorder, commits } = setUp({ noPipeline: true });
    await recorder.record("t", [{ type: "a", data: { n: 2 } }], undefined);
    expect(commits[0]!.runs).toEqual([]);
  });
});
