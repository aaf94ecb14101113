import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { RuleDefinition } from "../../model/rule.ts";
import { RecorderRig } from "../../testing/recorder-rig.ts";
import { rule } from "../../testing/rule-rig.ts";
import { Seeded } from "../../testing/seeded.ts";
import { until } from "../../testing/until.ts";

let rig: RecorderRig;
beforeEach(() => void (rig = new RecorderRig()));
afterEach(async () => {
  await rig.remove();
  // Whatever became of its commit, nothing is held for a run any more.
  expect([...rig.leased]).toEqual([]);
});

const counted = (given: Partial<RuleDefinition> = {}) =>
  rule("w", {
    on: ["*"],
    types: ["x"],
    window: { overMs: 1e9, compute: "count", of: null, is: "true" },
    outcomes: [{ kind: "run", pipeline: "p", params: { n: "${{ window.count }}" } }],
    ...given,
  });
const numbers = async () => (await rig.runs()).map(({ params }) => (params as { n: number }).n);

describe("an emit", () => {
  test("is kept with its runs and its checkpoint, then the runs are handed on", async () => {
    await rig.open([rule("r", { when: "event.data.n > 1" })]);
    const proposed = [
      { type: "a", data: { n: 1 } },
      { type: "b", id: "fixed", subject: "s", data: { n: 2 } },
    ];
    await rig.recorder.record("t", proposed, { at: 9 });
    const events = await rig.events();
    expect(events.map(({ type }) => type)).toEqual(["a", "b"]);
    expect(events[1]).toMatchObject({ id: "fixed", source: "urn:holdfast:agent:web-01/t", subject: "s" });
    expect(await rig.store.checkpoint("t")).toEqual({ at: 9 });
    expect(rig.admitted).toEqual(await rig.runs());
    expect(rig.admitted).toMatchObject([{ rule: "r", starter: { kind: "rule", by: "r" }, eventId: "fixed" }]);
    expect(rig.recorder.counters).toEqual({ events: 2, duplicates: 0, refused: 0, commits: 1 });
  });

  test("over the limit of an event is refused, and nothing of it is kept", async () => {
    await rig.open([counted()]);
    const emit = rig.recorder.record("t", [{ type: "x" }, { type: "x", data: "x".repeat(2000) }], undefined);
    await expect(emit).rejects.toThrow("more than limits.event_size (1000)");
    await rig.recorder.record("t", [{ type: "x" }], undefined);
    expect(await numbers()).toEqual([1]);
    expect(rig.recorder.counters.refused).toBe(2);
  });

  test("whose rule names a pipeline that is gone is kept", async () => {
    rig.pipelines.clear();
    await rig.open([rule("r")]);
    await rig.recorder.record("t", [{ type: "a" }], undefined);
    expect(await rig.events()).toHaveLength(1);
    expect(rig.rules.list()[0]!.counters.lastError).toBe("there is no pipeline p");
  });

  test("that no rule listens to does not wait for room", async () => {
    rig.room = () => new Promise(() => {});
    await rig.open([rule("r")]);
    await rig.recorder.record("other", [{ type: "a", id: "1" }], undefined);
    await rig.recorder.record("other", [{ type: "a", id: "1" }], undefined);
    expect(rig.recorder.counters).toEqual({ events: 1, duplicates: 1, refused: 0, commits: 2 });
  });

  test("takes what rules emit with it, and what rules make of that", async () => {
    const emit = { kind: "emit" as const, type: "y", subject: null, severity: null, data: {} };
    await rig.open([rule("one", { outcomes: [emit] }), rule("two", { on: ["rule:one"] })]);
    await rig.recorder.record("t", [{ type: "x" }, { type: "x" }], undefined);
    const events = await rig.events();
    expect(events.map(({ type }) => type)).toEqual(["x", "x", "y", "y"]);
    expect((await rig.runs()).map(({ eventId }) => eventId)).toEqual([events[2]!.id, events[3]!.id]);
    expect(rig.recorder.counters.commits).toBe(1);
  });
});

describe("a repeated event", () => {
  test("is not seen by rules, whether it comes again in the batch, later, or at the same time", async () => {
    await rig.open([counted()]);
    const twice = [1, 1, 2].map((id) => ({ type: "x", id: String(id) }));
    await rig.recorder.record("t", twice, undefined);
    await rig.recorder.record("t", [{ type: "x", id: "2" }], { at: 3 });
    const same = () => rig.recorder.record("t", [{ type: "x", id: "3" }, { type: "x" }], undefined);
    await Promise.all([same(), same(), same()]);
    expect(await numbers()).toEqual([1, 2, 3, 4, 5, 6]);
    expect(await rig.store.checkpoint("t")).toEqual({ at: 3 });
    expect(rig.recorder.counters).toMatchObject({ events: 6, duplicates: 4 });
  });

  test("of a batch that failed is seen when it comes again", async () => {
    await rig.open([counted()]);
    rig.store.order({ label: "commitEvents", at: "after", with: "SQLITE_IOERR" });
    const emit = () => rig.recorder.record("t", [{ type: "x", id: "1" }], undefined);
    await expect(emit()).rejects.toThrow();
    await emit();
    expect(await numbers()).toEqual([1]);
  });
});

describe("a run that does not come into being", () => {
  test("is dropped: its commit failed, or was computed after one that did", async () => {
    await rig.open([counted()]);
    rig.store.order({ label: "commitEvents", at: "before", with: "SQLITE_CONSTRAINT" });
    const emits = ["a", "b"].map((trigger) => rig.recorder.record(trigger, [{ type: "x" }], undefined));
    expect((await Promise.allSettled(emits)).map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
    expect(rig.dropped).toHaveLength(2);
    expect(rig.admitted.map(({ id }) => id)).toEqual((await rig.runs()).map(({ id }) => id));
    expect(rig.admitted).toHaveLength(1);
  });

  test("is dropped when the event that starts it was there already", async () => {
    await rig.open([]);
    const starter = { kind: "schedule" as const, by: "s" };
    const given = () => [{ event: { type: "x", id: "1" }, start: { pipeline: "p", starter, params: {} } }];
    const both = await Promise.all([0, 1].map(() => rig.recorder.recordStarting("t", given(), {})));
    expect(both.flat().map(({ kept }) => kept)).toEqual([true, false]);
    expect([rig.admitted.length, rig.dropped.length]).toEqual([1, 1]);
    expect(await rig.runs()).toHaveLength(1);
  });
});

describe("when a commit fails", () => {
  test("those that were computed after it are looked at again, and nothing of it stays", async () => {
    await rig.open([counted()]);
    // Of an error like this one the store takes back only the operation, not the whole transaction.
    rig.store.order({ label: "commitEvents", at: "before", with: "SQLITE_CONSTRAINT", skip: 1 });
    const emits = ["a", "b", "c", "d"].map((trigger) =>
      rig.recorder.record(trigger, [{ type: "x" }], undefined),
    );
    const results = await Promise.allSettled(emits);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
    expect(await numbers()).toEqual([1, 2, 3]);
    await rig.recorder.record("b", [{ type: "x" }], undefined);
    expect(await numbers()).toEqual([1, 2, 3, 4]);
    expect(rig.rules.list()[0]!.fired).toBe(4);
  });

  test("a cooldown that it began is not there", async () => {
    await rig.open([rule("r", { cooldownMs: 1000 })]);
    rig.store.order({ label: "commit", at: "before", with: "SQLITE_FULL" });
    await expect(rig.recorder.record("t", [{ type: "x" }], undefined)).rejects.toThrow();
    await rig.recorder.record("t", [{ type: "x" }, { type: "x" }], undefined);
    expect(await rig.runs()).toHaveLength(1);
  });

  const labels = ["commit", "commitEvents", "events.insert", "window_entries.insert", "rule_states.put"];
  test.each([1, 2, 3, 4, 5])("windows hold what was committed, seed %d", async (seed) => {
    const random = new Seeded(seed);
    await rig.open([counted({ by: "event.subject" }), rule("cool", { cooldownMs: 1, types: ["never"] })]);
    let failed = 0;
    for (let round = 0; round < 25; round++) {
      if (random.chance(0.4)) {
        const label = random.pick(labels);
        // After the commit itself there is nothing left that could be taken back.
        const at = label === "commit" ? "before" : random.pick(["before", "after"] as const);
        const code = random.pick(["SQLITE_IOERR", "SQLITE_CONSTRAINT"]);
        rig.store.order({ label, at, with: code, skip: random.int(0, 3), times: random.int(1, 2) });
      }
      const emits = Array.from({ length: random.int(1, 6) }, (_, trigger) =>
        rig.recorder.record(`t${trigger}`, batch(random), undefined),
      );
      const results = await Promise.allSettled(emits);
      failed += results.filter(({ status }) => status === "rejected").length;
      await rig.clock.advance(random.int(0, 50));
      if (random.chance(0.05)) {
        await rig.close();
        await rig.open([counted({ by: "event.subject" })]);
      }
    }
    expect(failed).toBeGreaterThan(0);
    await expectCounts();
  });

  function batch(random: Seeded) {
    return Array.from({ length: random.int(1, 3) }, () => ({
      type: "x",
      subject: random.pick(["k", "l"]),
      ...(random.chance(0.3) ? { id: `own-${random.int(1, 40)}` } : {}),
    }));
  }

  /** The run of each event says how many of its key were committed up to it. */
  async function expectCounts(): Promise<void> {
    const expected = new Map<string, number>();
    const places = new Map<string, number>();
    for (const { source, id, subject } of await rig.events()) {
      places.set(subject!, (places.get(subject!) ?? 0) + 1);
      expected.set(`${source} ${id}`, places.get(subject!)!);
    }
    const runs = await rig.runs();
    const found = runs.map(({ eventSource, eventId, params }) => [
      `${eventSource} ${eventId}`,
      (params as { n: number }).n,
    ]);
    expect(found.toSorted()).toEqual([...expected].toSorted() as never);
    const handedOn = rig.admitted.map(({ id }) => id);
    expect(handedOn.toSorted()).toEqual(runs.map(({ id }) => id).toSorted());
  }
});

describe("what rules do by time", () => {
  const debounced = rule("d", { debounceMs: 5000 });

  test("is committed as an event with its run when it is due, also after a restart", async () => {
    await rig.open([debounced]);
    await rig.recorder.record("t", [{ type: "x", subject: "s" }], undefined);
    await rig.clock.advance(3000);
    await rig.close();
    await rig.open([debounced]);
    await rig.clock.advance(1999);
    expect(await rig.runs()).toEqual([]);
    await rig.clock.advance(1);
    const [first, second] = await rig.events();
    expect(second).toMatchObject({ type: "rule.debounced", causationid: first!.id, subject: "s" });
    expect(rig.admitted).toMatchObject([{ rule: "d", eventId: second!.id }]);
    await rig.clock.advance(100_000);
    expect(await rig.events()).toHaveLength(2);
  });

  test("is tried again when it could not be committed", async () => {
    await rig.open([debounced]);
    await rig.recorder.record("t", [{ type: "x" }], undefined);
    rig.store.order({ label: "commit", at: "before", with: "SQLITE_FULL", times: 3 });
    await rig.clock.advance(5500);
    expect(await rig.runs()).toEqual([]);
    await rig.clock.advance(5000);
    expect(await rig.runs()).toHaveLength(1);
  });

  test("starts with the rule: its beginning is durable before anything happened", async () => {
    const absent = rule("a", { absence: { forMs: 10_000 } });
    await rig.open([absent]);
    await rig.clock.advance(6000);
    await rig.close();
    await rig.open([absent]);
    await rig.clock.advance(4000);
    expect((await rig.events()).map(({ type }) => type)).toEqual(["rule.absent"]);
    expect(await rig.runs()).toHaveLength(1);
  });

  test("waits for room, and not beyond the end", async () => {
    await rig.open([debounced]);
    await rig.recorder.record("t", [{ type: "x" }], undefined);
    let asked = false;
    rig.room = () => {
      asked = true;
      return new Promise(() => {});
    };
    await rig.clock.advance(6000);
    await until("the recorder asks for room", () => asked);
    await rig.recorder.stop();
    expect(await rig.runs()).toEqual([]);
  });

  test("more at once than one commit takes is all done", async () => {
    await rig.open([rule("d", { debounceMs: 1000, by: "event.subject" })]);
    const proposed = Array.from({ length: 1201 }, (_, index) => ({ type: "x", subject: `s${index}` }));
    await rig.recorder.record("t", proposed, undefined);
    await rig.clock.advance(1000);
    await until("all runs", () => rig.admitted.length === 1201);
    expect(rig.recorder.counters.commits).toBe(4);
  });
});
