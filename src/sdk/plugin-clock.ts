import type { Clock } from "../core/clock.ts";
import type { PluginClock } from "./holdfast.ts";

/** The clock that a plugin sees, over the clock of its host (or a test's). */
export function pluginClock(clock: Pick<Clock, "mono" | "wall" | "sleep">): PluginClock {
  const sleep = async (ms: number, signal?: AbortSignal): Promise<void> => {
    try {
      await clock.sleep(ms, signal);
    } catch (error) {
      if (!signal?.aborted) throw error;
    }
  };
  return {
    wall: () => clock.wall(),
    mono: () => clock.mono(),
    sleep,
    async *every(ms, signal) {
      const step = Math.max(1, ms);
      const start = clock.mono();
      for (let tick = 0; !signal.aborted; tick++) {
        yield tick;
        // The next place on the grid that is still ahead: ticks that a slow consumer missed are not made up for.
        const passed = clock.mono() - start;
        await sleep((Math.floor(passed / step) + 1) * step - passed, signal);
      }
    },
  };
}
