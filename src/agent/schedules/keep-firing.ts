import { HoldfastError } from "../../core/errors.ts";
import type { Json } from "../../model/json.ts";
import type { Firing } from "../../model/schedule.ts";
import { firingEvents, memoryAfter, missedOf } from "./fire-entry.ts";
import type { SchedulePorts, Started } from "./ports.ts";
import type { ScheduleEntry } from "./schedule-entry.ts";

export interface ScheduleCounters {
  fired: number;
  /** Due times for which nothing fired. */
  missed: number;
  /** Due times whose pipeline could not be started. */
  problems: number;
}

/**
 * Makes a firing durable and takes it over. Where its pipeline cannot be started at all the event says why, and that is
 * durable in place of the run. Throws what may pass; nothing has changed then.
 */
export async function keepFiring(
  { record, clock, log }: Pick<SchedulePorts, "record" | "clock" | "log">,
  entry: ScheduleEntry,
  firing: Firing,
  counters: ScheduleCounters,
): Promise<void> {
  const memory = memoryAfter(entry, firing, clock.wall());
  const keep = (problem: string | null): Promise<Started[]> =>
    record(entry.trigger, firingEvents(entry, firing, problem), memory as unknown as Json);
  let started: Started[];
  try {
    started = await keep(null);
    entry.lastProblem = null;
  } catch (error) {
    const hopeless = error instanceof HoldfastError && ["invalid", "not_found"].includes(error.code);
    if (!hopeless) throw error;
    const problem = error.message;
    log.error("a schedule could not start its pipeline", { schedule: entry.definition.name, problem });
    started = await keep(problem);
    entry.lastProblem = problem;
    counters.problems++;
  }
  // Not those that had fired before the clock went back, or before an answer was lost.
  const again = started.slice(0, firing.fire.length).filter(({ kept }) => !kept).length;
  entry.memory = { ...memory, fired: memory.fired - again };
  entry.initMs = null;
  entry.lastRun = started.findLast(({ run }) => run !== null)?.run ?? entry.lastRun;
  counters.fired += firing.fire.length - again;
  counters.missed += missedOf(firing);
}
