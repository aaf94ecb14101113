/** Each window function against a reference that keeps everything and computes from scratch. */
import { describe, expect, test } from "bun:test";
import { WINDOW_FUNCTIONS, type WindowFunction } from "../../model/rule.ts";
import { type Fed, rule, RuleRig } from "../../testing/rule-rig.ts";
import { Seeded } from "../../testing/seeded.ts";
import { FUTURE_MS } from "./match-event.ts";

interface Kept {
  at: number;
  n: number | string;
}

function reference(compute: WindowFunction, kept: Kept[]): number | string {
  const values = kept.map(({ n }) => n);
  const numbers = values as number[];
  switch (compute) {
    case "count":
      return values.length;
    case "distinct":
      return new Set(values).size;
    case "sum":
      return numbers.reduce((sum, n) => sum + n, 0);
    case "avg":
      return numbers.reduce((sum, n) => sum + n, 0) / numbers.length;
    case "min":
      return Math.min(...numbers);
    case "max":
      return Math.max(...numbers);
    case "last":
      return values.at(-1)!;
  }
}

/** Everything that ever came for a key, stably sorted by time, cut to the window: null for an event that is late. */
class NaiveWindow {
  readonly #all = new Map<string, Kept[]>();

  add(key: string, kept: Kept, overMs: number, now: number): Kept[] | null {
    const all = this.#all.get(key) ?? [];
    const newest = Math.max(-Infinity, ...all.map(({ at }) => at));
    if (kept.at > now + FUTURE_MS || kept.at <= newest - overMs) return null;
    all.push(kept);
    this.#all.set(key, all);
    const end = Math.max(newest, kept.at);
    return all.filter(({ at }) => at > end - overMs).sort((a, b) => a.at - b.at);
  }
}

function randomEvent(random: Seeded, compute: WindowFunction, now: number): Fed & { n: number | string } {
  const kinds = ["now", "now", "near", "near", "old", "ahead"];
  const shift = {
    now: 0,
    near: random.int(-300, 100),
    old: random.int(-3000, 0),
    ahead: random.int(0, 400_000),
  };
  const kind = random.pick(kinds) as keyof typeof shift;
  const texts = compute === "distinct" || compute === "last";
  const n = texts && random.chance(0.5) ? random.pick(["a", "b", "c"]) : number(random);
  const fed: Fed = { subject: random.pick(["k", "l", "m"]), data: { n } };
  if (kind !== "now") fed.at = now + (kind === "ahead" && random.chance(0.9) ? 0 : shift[kind]);
  return { ...fed, n };
}

function number(random: Seeded): number {
  if (random.chance(0.02)) return random.pick([2 ** 53 - 1, -(2 ** 52), 1e15]);
  return random.chance(0.3) ? random.int(-50, 50) / 10 : random.int(-5, 5);
}

describe.each([...WINDOW_FUNCTIONS])("%s", (compute) => {
  test.each([1, 2, 3, 4, 5])("as the reference, seed %d", (seed) => {
    const random = new Seeded(seed * 7919 + WINDOW_FUNCTIONS.indexOf(compute));
    const overMs = random.pick([50, 1000, 20_000]);
    const definition = rule("w", {
      by: "event.subject",
      window: { overMs, compute, of: compute === "count" ? null : "event.data.n", is: "true" },
      outcomes: [
        {
          kind: "run",
          pipeline: "p",
          params: { value: "${{ window.value }}", count: "${{ window.count }}" },
        },
      ],
    });
    const rig = new RuleRig([definition]);
    const naive = new NaiveWindow();
    let late = 0;
    for (let step = 0; step < 600; step++) {
      rig.now += random.int(0, 40);
      // A jump of the wall clock and a restart change nothing.
      if (random.chance(0.01)) rig.wallAhead = random.int(-1, 1) * 365 * 86_400_000;
      if (random.chance(0.01)) rig.restart();
      const { n, ...fed } = randomEvent(random, compute, rig.now);
      const kept = naive.add(fed.subject!, { at: fed.at ?? rig.now, n }, overMs, rig.now);
      if (kept === null) late++;
      const runs = rig.collect(fed).runs.map(({ params }) => params);
      expect(runs, `step ${step}`).toEqual(
        kept === null ? [] : [{ value: reference(compute, kept), count: kept.length }],
      );
    }
    expect(late).toBeGreaterThan(0);
  });
});

test("entries beyond the limit of a key, and keys beyond the limit of a rule, go, the oldest first", () => {
  const window = { overMs: 1e9, compute: "sum" as const, of: "event.data.n", is: "true" };
  const outcomes = [{ kind: "run" as const, pipeline: "p", params: { v: "${{ window.value }}" } }];
  const rig = new RuleRig([rule("w", { by: "event.subject", window, outcomes })], {
    maxEntries: 3,
    maxKeys: 2,
  });
  const value = (subject: string, n: number) => {
    rig.now += 2000;
    return rig.collect({ subject, data: { n } }).runs[0]!.params;
  };
  expect([1, 2, 3, 4].map((n) => value("a", n))).toEqual([1, 3, 6, 9].map((v) => ({ v })));
  expect(rig.counters("w").dropped).toBe(1);
  expect([value("b", 1), value("a", 5), value("c", 1)]).toEqual([{ v: 1 }, { v: 12 }, { v: 1 }]);
  expect(rig.counters("w").dropped).toBe(3);
  expect([value("a", 6), value("b", 1)]).toEqual([{ v: 15 }, { v: 1 }]);
});

test("keys that were silent for long are forgotten, here and in the store, and those that were not are not", () => {
  const window = { overMs: 60_000, compute: "count" as const, of: null, is: "true" };
  const rig = new RuleRig([
    rule("w", { by: "event.subject", window }),
    rule("c", { by: "event.subject", cooldownMs: 5000 }),
  ]);
  rig.feed({ subject: "a" }, { subject: "b" });
  for (let minute = 0; minute < 30; minute++) {
    rig.now += 60_000;
    rig.feed({ subject: "b" });
  }
  const [w, c] = rig.rules.list();
  expect([w!.keys, c!.keys]).toEqual([1, 1]);
  expect(rig.entries.every((entry) => entry.key === "b")).toBe(true);
  expect(rig.entries.length).toBeLessThan(12);
  expect([...rig.states.values()].map(({ key }) => key).toSorted()).toEqual(["#", "#", "=b"]);
});
