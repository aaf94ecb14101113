import { Schedules } from "../src/agent/schedules/schedules.ts";
import { systemClock } from "../src/core/clock.ts";
import { silentLogger } from "../src/core/logger.ts";
import { TimeWatch } from "../src/core/time-watch.ts";
import { schedule } from "../src/testing/schedule-rig.ts";
import type { Bench } from "./frame.ts";

const SCHEDULES = 10_000;
const ZONES = ["Europe/Berlin", "America/New_York", "UTC", "Asia/Kolkata"];
const WATCH_MS = 15_000;

export const bench: Bench = {
  about:
    "10,000 schedules, half of them cron in four zones: their start without the store, and what they cost while they wait",
  async run({ progress }) {
    const clock = systemClock();
    const schedules = new Schedules({
      agentId: "bench-01",
      remembered: async () => [],
      record: async (_trigger, events) => events.map(() => ({ kept: true, run: null })),
      room: async () => {},
      clock,
      watch: new TimeWatch(clock),
      log: silentLogger(),
    });
    const startCpu = process.cpuUsage();
    await schedules.start(Array.from({ length: SCHEDULES }, (_, index) => definition(index)));
    const startMs = cpuMs(startCpu);
    progress("started");
    const began = performance.now();
    const waiting = process.cpuUsage();
    await Bun.sleep(WATCH_MS);
    const share = cpuMs(waiting) / (performance.now() - began);
    const states = schedules.states();
    await schedules.stop();
    if (states.active !== SCHEDULES)
      throw new Error(`${states.active} schedules are active, not ${SCHEDULES}`);
    return [
      { name: `start of ${SCHEDULES} new schedules, processor time`, value: startMs, unit: "ms" },
      {
        name: `${SCHEDULES} schedules that wait, of one core`,
        value: share * 100,
        unit: "%",
        goal: { kind: "at most", value: 1 },
      },
    ];
  },
};

/** Due once a day or every hour and more, at all times of the day. */
function definition(index: number) {
  const cron = { cron: `${index % 60} ${index % 24} * * *`, time_zone: ZONES[index % ZONES.length]! };
  return schedule(`s${index}`, index % 2 === 0 ? cron : { every: `${1 + (index % 24)}h` });
}

function cpuMs(since: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
}
