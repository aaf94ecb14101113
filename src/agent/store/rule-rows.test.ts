import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { FindingRow, RuleChanges } from "../../model/rule.ts";
import { keep, commitOf, failure, type Fixture, fixture, numbered } from "./store-fixtures.ts";

let place: Fixture;
beforeEach(() => {
  place = fixture();
});
afterEach(() => place.end());

const NOTHING: RuleChanges = { states: [], entries: [], expire: [], findings: [] };

function changes(more: Partial<RuleChanges>) {
  return commitOf([], { rules: { ...NOTHING, ...more } });
}

function entry(key: string, atMs: number, value: string | number | null = null, rule = "r1") {
  return { rule, key, atMs, value };
}

function finding(id: string, more: Partial<FindingRow> = {}): FindingRow {
  return {
    id,
    rule: "flapping",
    key: "eth0",
    severity: "warning",
    title: "eth0 flaps",
    data: { port: 3 },
    state: "open",
    count: 1,
    firstMs: 10,
    lastMs: 10,
    resolvedMs: null,
    ...more,
  };
}

describe("what rules remember", () => {
  test("comes back in its order after a restart; null deletes a state", async () => {
    const first = await place.open();
    await first.commitEvents(
      changes({
        states: [
          { rule: "r1", key: "a", body: { fired: 1 } },
          { rule: "r1", key: "b", body: { fired: 2 } },
          { rule: "r2", key: "a", body: [3] },
        ],
        entries: [entry("a", 5, 1.5), entry("b", 3, "text"), entry("a", 4)],
      }),
    );
    const states = [
      { rule: "r1", key: "a", body: { fired: 9 } },
      { rule: "r1", key: "b", body: null },
      { rule: "r1", key: "never", body: null },
    ];
    await first.commitEvents(changes({ states }));
    await first.close();
    const store = await place.open();
    expect(await store.ruleMemory(["r1", "r2"])).toEqual({
      states: [
        { rule: "r1", key: "a", body: { fired: 9 } },
        { rule: "r2", key: "a", body: [3] },
      ],
      entries: [entry("a", 5, 1.5), entry("b", 3, "text"), entry("a", 4)],
      openFindings: [],
      version: 0,
    });
  });

  test("entries expire by rule; what belongs to other rules than those kept is forgotten for good", async () => {
    const store = await place.open();
    const entries = [entry("a", 1), entry("a", 2), entry("b", 3), entry("a", 1, null, "r2")];
    const states = [{ rule: "r2", key: "a", body: 1 }];
    await store.commitEvents(changes({ entries, states, findings: [finding("f-1", { rule: "gone" })] }));
    await store.commitEvents(changes({ expire: [{ rule: "r1", beforeMs: 2 }] }));
    expect((await store.ruleMemory(["r1", "r2"])).entries.map((each) => each.atMs)).toEqual([2, 3, 1]);
    const memory = await store.ruleMemory(["r1"]);
    expect(memory).toMatchObject({ states: [], entries: [{ atMs: 2 }, { atMs: 3 }] });
    expect(memory.openFindings.map((each) => each.id)).toEqual(["f-1"]);
    expect((await store.ruleMemory(["r1", "r2"])).entries.length).toBe(2);
  });

  test("a commit that builds on another memory is refused as a whole", async () => {
    const store = await place.open();
    const next = (version: number, ids: string[]) =>
      store.commitEvents({
        ...changes({ version, entries: [entry("a", version)] }),
        events: commitOf(ids).events,
      });
    // All at once, as the rules send them: the second builds on the first.
    await Promise.all([next(0, ["e-0"]), next(1, ["e-1"]), next(2, [])]);
    await store.commitEvents(changes({ entries: [entry("a", 100)] }));
    const refused = await failure(next(1, ["e-2"]));
    expect(refused).toMatchObject({ code: "conflict" });
    expect(refused.message).toContain("build on commit 1 of their memory, and the store is at 3");
    expect(await store.lastEvent()).toBe(2);
    await store.close();
    const again = await place.open();
    const memory = await again.ruleMemory(["r1"]);
    expect(memory.version).toBe(3);
    expect(memory.entries.map((each) => each.atMs)).toEqual([0, 1, 2, 100]);
  });

  test("one that failed is not counted: those that build on it are refused", async () => {
    const faults = [{ label: "window_entries.insert", at: "after" as const, with: "SQLITE_CONSTRAINT" }];
    const store = await place.open({ faults });
    const next = (version: number) =>
      store.commitEvents(changes({ version, entries: [entry("a", version)] }));
    const results = await Promise.allSettled([next(0), next(1), next(2)]);
    expect(results.map((result) => result.status)).toEqual(["rejected", "rejected", "rejected"]);
    expect(await store.ruleMemory(["r1"])).toMatchObject({ entries: [], version: 0 });
    await next(0);
    expect((await store.ruleMemory(["r1"])).version).toBe(1);
  });
});

describe("findings", () => {
  test("are replaced by id, listed by state, the newest first", async () => {
    const store = await place.open();
    await store.commitEvents(changes({ findings: [finding("f-1"), finding("f-2")] }));
    const resolved = finding("f-1", { state: "resolved", count: 4, lastMs: 30, resolvedMs: 31, data: null });
    await store.commitEvents(changes({ findings: [resolved] }));
    expect(await store.findings({ state: "resolved" }, 10)).toEqual([resolved]);
    expect((await store.findings({}, 10)).map((each) => each.id)).toEqual(["f-2", "f-1"]);
    expect((await store.findings({}, 1)).map((each) => each.id)).toEqual(["f-2"]);
    expect((await store.ruleMemory([])).openFindings).toEqual([finding("f-2")]);
    expect((await store.stats()).openFindings).toBe(1);
  });

  test("resolved ones are kept up to a number, open ones always", async () => {
    const store = await place.open({ retention: { findings: keep(3) } });
    const findings = numbered("f", 8).map((id, i) => finding(id, { state: i < 2 ? "open" : "resolved" }));
    await store.commitEvents(changes({ findings }));
    await store.trim();
    expect((await store.findings({}, 10)).map((each) => each.id)).toEqual([
      "f-7",
      "f-6",
      "f-5",
      "f-1",
      "f-0",
    ]);
  });
});
