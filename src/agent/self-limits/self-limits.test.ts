import { describe, expect, test } from "bun:test";
import { systemClock } from "../../core/clock.ts";
import { createLogger } from "../../core/logger.ts";
import type { Amounts } from "../../model/resource-use.ts";
import { until } from "../../testing/until.ts";
import { SelfLimits } from "./self-limits.ts";

const MB = 1024 ** 2;
const LIMITS: Amounts = { memory: 100 * MB, cpu: 2, disk: 10 * MB };
const clock = systemClock();

function rig(change: { rotatedBytes?: number; idleWorkers?: number; trigger?: string | null } = {}) {
  const used: Amounts = { memory: 10 * MB, cpu: 0.1, disk: MB };
  const lines: string[] = [];
  const done: string[] = [];
  let gate = { delayMs: 0, held: false };
  const limits = new SelfLimits({
    limits: LIMITS,
    intervalMs: 5,
    sample: () => ({ ...used }),
    gate: { set: ({ delayMs, held }) => (gate = { delayMs, held }) },
    stopIdleWorkers: () => change.idleWorkers ?? 0,
    restartLargestTrigger: () => {
      done.push("restart");
      return change.trigger === undefined ? "front" : change.trigger;
    },
    collectGarbage: () => done.push("collect"),
    trimLogs: (bytes) => {
      done.push(`trim ${Math.round(bytes / MB)} MB`);
      const rotated = change.rotatedBytes ?? 0;
      return { files: rotated > 0 ? 2 : 0, bytes: rotated };
    },
    clock,
    log: createLogger({
      sinks: [{ write: (line) => lines.push((JSON.parse(line) as { message: string }).message) }],
      level: () => "info",
      wall: () => 0,
    }),
  });
  const look = (change: Partial<Amounts>) => {
    Object.assign(used, change);
    limits.look();
  };
  return { limits, look, lines, done, gate: () => gate };
}

describe("memory", () => {
  test("a warning, then what costs least, then a restart; told in log, check and counters", () => {
    const { limits, look, lines, done } = rig({ idleWorkers: 2 });
    look({});
    expect(limits.check()).toEqual({ name: "resources", state: "ok" });
    look({ memory: 85 * MB });
    expect(limits.check()).toEqual({
      name: "resources",
      state: "degraded",
      reason: "memory: 85 MB used, 100 MB allowed",
    });
    expect(lines).toEqual(["close to limits.memory: memory: 85 MB used, 100 MB allowed"]);
    expect(done).toEqual([]);
    look({ memory: 120 * MB });
    expect(limits.check().reason).toBe(
      "memory: 120 MB used, 100 MB allowed; idle workers of actions are stopped (2 now)",
    );
    expect(done).toEqual(["collect"]);
    look({});
    expect(done).toEqual(["collect", "collect", "restart"]);
    expect(limits.uses().memory).toMatchObject({ level: "over", reaction: "trigger front is started again" });
    look({ memory: 20 * MB });
    expect(limits.uses().memory).toEqual({ used: 20 * MB, limit: 100 * MB, level: "ok" });
    expect(lines.at(-1)).toBe("within limits.memory again: memory: 20 MB used, 100 MB allowed");
    expect(limits.counters).toMatchObject({
      warnings: { memory: 1 },
      overruns: { memory: 1 },
      reactions: { stop_idle_workers: 2, collect_garbage: 2, restart_trigger: 1 },
    });
  });

  test("what there is nothing to be done to is not claimed", () => {
    const { limits, look, lines } = rig({ trigger: null });
    look({ memory: 120 * MB });
    look({});
    expect(limits.uses().memory).toEqual({ used: 120 * MB, limit: 100 * MB, level: "over" });
    expect(limits.counters.reactions).toEqual({ collect_garbage: 2 });
    expect(lines).toEqual(["limits.memory is passed: memory: 120 MB used, 100 MB allowed"]);
  });
});

test("cpu: triggers are slowed down and let go again", () => {
  const { limits, look, gate } = rig();
  look({ cpu: 3 });
  expect(gate()).toEqual({ delayMs: 100, held: false });
  look({});
  expect(gate()).toEqual({ delayMs: 200, held: false });
  expect(limits.uses().cpu.reaction).toBe("each batch of events of triggers waits 200 ms");
  look({ cpu: 0.2 });
  expect(limits.uses().cpu).toMatchObject({
    level: "ok",
    reaction: "each batch of events of triggers waits 100 ms",
  });
  look({});
  expect(gate()).toEqual({ delayMs: 0, held: false });
  expect(limits.uses().cpu.reaction).toBeUndefined();
  expect(limits.counters.reactions).toEqual({ slow_triggers: 2 });
});

describe("disk", () => {
  test("logs go first; when that is enough nothing else happens", () => {
    const { limits, look, done, gate } = rig({ rotatedBytes: 4 * MB });
    look({ disk: 12 * MB });
    expect(done).toEqual(["trim 3 MB"]);
    expect(limits.uses().disk).toMatchObject({ used: 8 * MB, reaction: "2 rotated logs were removed" });
    look({ disk: 8 * MB });
    expect(gate().held).toBe(false);
  });

  test("else triggers are paused until there is room", () => {
    const { limits, look, gate, lines } = rig();
    look({ disk: 12 * MB });
    expect(gate().held).toBe(false);
    look({});
    expect(gate().held).toBe(true);
    expect(limits.check().reason).toBe(
      "disk: 12 MB used, 10 MB allowed; triggers are paused: their events wait until there is room",
    );
    look({ disk: 9 * MB });
    expect(gate().held).toBe(false);
    expect(lines.at(-1)).toBe("below limits.disk again: disk: 9 MB used, 10 MB allowed");
  });
});

test("it looks at once and at each interval, and a look that fails ends nothing", async () => {
  let looks = 0;
  const lines: string[] = [];
  const limits = new SelfLimits({
    limits: LIMITS,
    intervalMs: 1,
    sample: () => {
      looks++;
      throw new Error("no /proc");
    },
    gate: { set: () => {} },
    stopIdleWorkers: () => 0,
    restartLargestTrigger: () => null,
    collectGarbage: () => {},
    trimLogs: () => ({ files: 0, bytes: 0 }),
    clock,
    log: createLogger({ sinks: [{ write: (line) => lines.push(line) }], level: () => "info", wall: () => 0 }),
  });
  limits.start();
  expect(looks).toBe(1);
  await until("more looks", () => looks > 3);
  limits.stop();
  expect(lines[0]).toContain("no /proc");
});
