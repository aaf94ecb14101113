import { expect, test } from "bun:test";
import { createLogger } from "../core/logger.ts";
import type { ProposedEvent } from "../model/event.ts";
import { VirtualClock } from "../testing/virtual-clock.ts";
import { LossWatch } from "./loss-watch.ts";
import type { Evicted } from "./store/outbox-stats.ts";

const MINUTE = 60_000;

function rig(record?: (event: ProposedEvent) => Promise<void>) {
  const clock = new VirtualClock();
  const events: ProposedEvent[] = [];
  const lines: Record<string, unknown>[] = [];
  const sink = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
  let lose: (evicted: Evicted) => void = () => {};
  const watch = new LossWatch({
    store: { onEvicted: (listener) => void (lose = listener) },
    record: record ?? (async (event) => void events.push(event)),
    clock,
    log: createLogger({ sinks: [sink], level: () => "debug", wall: () => 0 }),
  });
  const evict = (counts: Evicted["counts"]) => lose({ lane: 2, counts });
  return { clock, events, lines, watch, evict };
}

test("the first loss is told at once, what follows within a minute together, and then it is over", async () => {
  const { clock, events, lines, watch, evict } = rig();
  expect(watch.problem()).toBeNull();
  evict({ 1: 1000 });
  expect(events).toEqual([
    {
      type: "sync.rows.lost",
      severity: "error",
      data: { rows: 1000, counts: { event: 1000 }, reason: "cap" },
    },
  ]);
  expect(lines).toMatchObject([{ level: "error", rows: 1000, event: 1000 }]);
  evict({ 1: 1000 });
  evict({ 2: 5, 3: 7 });
  expect(events).toHaveLength(1);
  expect(watch.problem()).toContain("2012 rows were given up");
  await clock.advance(MINUTE);
  expect(events.at(-1)!.data).toEqual({
    rows: 1012,
    counts: { event: 1000, run: 5, step: 7 },
    reason: "cap",
  });
  expect(watch.problem()).not.toBeNull();
  await clock.advance(MINUTE);
  expect(watch.problem()).toBeNull();
  expect(events).toHaveLength(2);
  watch.stop();
  evict({ 1: 1 });
  expect(events).toHaveLength(2);
});

test("an event that cannot be kept is only a line of the log", async () => {
  const { clock, lines, evict } = rig(() => Promise.reject(new Error("disk full")));
  evict({ 1: 1 });
  await clock.advance(0);
  expect(lines.at(-1)).toMatchObject({ level: "warn", error: "disk full" });
});
