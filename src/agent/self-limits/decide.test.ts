import { describe, expect, test } from "bun:test";
import type { Amounts } from "../../model/resource-use.ts";
import { decide, type LimitState, UNTROUBLED } from "./decide.ts";

const limits: Amounts = { memory: 1000, cpu: 2, disk: 100 };
const quiet: Amounts = { memory: 100, cpu: 0.1, disk: 10 };

/** One sample after the other, from an agent without trouble. */
function after(...samples: Partial<Amounts>[]) {
  let state: LimitState = UNTROUBLED;
  return samples.map((sample) => {
    const decision = decide({ ...quiet, ...sample }, limits, state);
    state = decision.state;
    return decision;
  });
}

describe("levels", () => {
  test.each([
    ["below four fifths", [790], "ok"],
    ["from four fifths on", [800], "warning"],
    ["at the limit", [1000], "warning"],
    ["above it", [1001], "over"],
    ["a warning stays until three quarters", [800, 760], "warning"],
    ["and goes below", [800, 750], "ok"],
    ["over stays until a little below", [1001, 960], "over"],
    ["then it is a warning", [1001, 950], "warning"],
    ["or nothing at all", [1001, 500], "ok"],
    ["no warning without four fifths before", [760], "ok"],
  ] as const)("%s", (_, memory, level) => {
    const decisions = after(...memory.map((used) => ({ memory: used })));
    expect(decisions.at(-1)!.state.levels).toEqual({ memory: level, cpu: "ok", disk: "ok" });
  });
});

describe("reactions", () => {
  const kinds = (decisions: { reactions: string[] }[]) => decisions.map(({ reactions }) => reactions);

  test("none before a limit is passed", () => {
    const [decision] = after({ memory: 1000, cpu: 2, disk: 100 });
    expect(decision).toMatchObject({ reactions: [], state: { delayMs: 0, held: false } });
  });

  test("memory: idle workers and garbage first, a trigger when that was not enough, and again later", () => {
    const over = { memory: 1200 };
    const reactions = kinds(after(over, over, over, {}, over));
    const gentle = ["stop_idle_workers", "collect_garbage"];
    expect(reactions).toEqual([gentle, [...gentle, "restart_trigger"], gentle, [], gentle]);
    const long = kinds(after(...Array.from({ length: 24 }, () => over)));
    const restarts = long.flatMap((list, at) => (list.includes("restart_trigger") ? [at + 1] : []));
    expect(restarts).toEqual([2, 12, 22]);
  });

  test("cpu: batches wait ever longer, up to a bound, and ever less when there is room", () => {
    const over = { cpu: 2.5 };
    const delays = (...samples: Partial<Amounts>[]) => after(...samples).map(({ state }) => state.delayMs);
    expect(delays(over, over, over)).toEqual([100, 200, 400]);
    expect(delays(over, over, { cpu: 1.95 })).toEqual([100, 200, 200]);
    expect(delays(over, over, over, { cpu: 1 }, { cpu: 1 }, { cpu: 1 })).toEqual([
      100, 200, 400, 200, 100, 0,
    ]);
    expect(delays(...Array.from({ length: 20 }, () => over)).at(-1)).toBe(5000);
  });

  test("disk: logs first, then events wait until there is room again", () => {
    const over = { disk: 120 };
    const decisions = after(over, over, { disk: 97 }, { disk: 90 });
    expect(kinds(decisions)).toEqual([["trim_logs"], ["trim_logs"], [], []]);
    expect(decisions.map(({ state }) => state.held)).toEqual([false, true, true, false]);
    // Where removing logs was enough nothing is held.
    expect(after(over, { disk: 97 }).map(({ state }) => state.held)).toEqual([false, false]);
  });
});
