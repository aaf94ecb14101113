import { afterEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemIds } from "../core/ids.ts";
import { createLogger } from "../core/logger.ts";
import { TimeWatch } from "../core/time-watch.ts";
import type { ProposedEvent } from "../model/event.ts";
import { openInProcessStore } from "../testing/in-process-store.ts";
import { VirtualClock } from "../testing/virtual-clock.ts";
import { recordAlone, watchClock } from "./clock-watch.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const folder = mkdtempSync(join(tmpdir(), "holdfast-clock-watch-"));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function rig(record?: (event: ProposedEvent) => Promise<void>) {
  const clock = new VirtualClock();
  let asleep = 0;
  const events: ProposedEvent[] = [];
  const lines: string[] = [];
  const sink = { write: (line: string) => void lines.push(line) };
  const log = createLogger({ sinks: [sink], level: () => "debug", wall: () => 0 }, "clock");
  const stop = watchClock({
    watch: new TimeWatch(clock, () => clock.mono() + asleep),
    record: record ?? (async (event) => void events.push(event)),
    clock,
    log,
  });
  const messages = () =>
    lines.map((line) => {
      const { level, message } = JSON.parse(line) as { level: string; message: string };
      return `${level}: ${message}`;
    });
  return { clock, events, messages, stop, sleep: (ms: number) => (asleep += ms) };
}

test("a jump is an event and a line of the log within five seconds, until it is stopped", async () => {
  const { clock, events, messages, stop } = rig();
  await clock.advance(7 * MINUTE);
  clock.jumpWall(-365 * 24 * HOUR);
  await clock.advance(5_000);
  expect(events).toEqual([{ type: "clock.jumped", severity: "warning", data: { byMs: -365 * 24 * HOUR } }]);
  expect(messages()).toEqual(["warn: the host's clock was set back by about 365d"]);
  stop();
  clock.jumpWall(HOUR);
  await clock.advance(HOUR);
  expect(events).toHaveLength(1);
});

test("sleep is told as sleep", async () => {
  const { clock, events, messages, sleep, stop } = rig();
  await clock.advance(MINUTE);
  sleep(8 * HOUR);
  clock.jumpWall(8 * HOUR + 400);
  await clock.advance(5_000);
  expect(events).toEqual([
    { type: "clock.jumped", severity: "info", data: { byMs: 8 * HOUR + 400, asleepMs: 8 * HOUR } },
  ]);
  expect(messages()).toEqual(["info: the host was asleep for about 8h"]);
  stop();
});

test("an event that cannot be kept is told, and the next one is tried", async () => {
  let tries = 0;
  const { clock, messages, stop } = rig(async () => {
    tries++;
    throw new Error("the disk is full");
  });
  for (const ms of [HOUR, -HOUR]) {
    clock.jumpWall(ms);
    await clock.advance(5_000);
  }
  expect(tries).toBe(2);
  expect(messages().filter((line) => line.includes("could not be kept"))).toHaveLength(2);
  stop();
});

test("an agent that has nothing else to do keeps the event as well", async () => {
  const clock = new VirtualClock();
  const ids = systemIds();
  const options = { path: join(folder, "agent.db"), ids, wall: () => clock.wall(), onCrash: () => {} };
  const store = await openInProcessStore(options);
  await recordAlone({ store, clock, ids, agentId: "web-01" }, { type: "clock.jumped", data: { byMs: 1 } });
  const [row] = await store.eventsAfter(0, 10);
  expect(JSON.parse(row!.body)).toMatchObject({
    source: "urn:holdfast:agent:web-01/clock",
    type: "clock.jumped",
    time: new Date(clock.wall()).toISOString(),
    data: { byMs: 1 },
  });
  await store.close();
});
