import * as v from "valibot";
import type { Logger } from "../../core/logger.ts";
import type { ControlRoutes } from "./control-request.ts";

/** A schedule and where it stands; times are Unix milliseconds by the host's wall clock. */
export interface ControlSchedule {
  name: string;
  state: string;
  timing: string;
  timeZone: string | null;
  run: string | null;
  missedPolicy: string;
  offsetMs: number;
  spread: string;
  nextMs: number | null;
  fired: number;
  missed: number;
  lastFiredMs: number | null;
  lastRun: string | null;
  problem: string | null;
  paused: { by: string; atMs: number } | null;
}

export interface ControlSchedules {
  list(): ControlSchedule[];
  /** Each resolves when it is durable; false when there was nothing to do. Throw `not_found`, and `conflict` for a disabled one. */
  pause(name: string, by: string): Promise<boolean>;
  resume(name: string, by: string): Promise<boolean>;
  /** `shift`: the clocks are put forward over it, or show it twice. */
  next(name: string, count: number): { atMs: number; shift: "gap" | "twice" | null }[];
}

const nextSchema = v.strictObject({
  limit: v.optional(
    v.pipe(
      v.string(),
      v.regex(/^\d{1,4}$/, "a whole number"),
      v.transform(Number),
      v.minValue(1),
      v.maxValue(1000),
    ),
    "5",
  ),
});

/** What starts by time: to be looked at, paused and resumed. */
export function scheduleRoutes(ports: { schedules(): ControlSchedules; log: Logger }): ControlRoutes {
  const change = (verb: "pause" | "resume"): ControlRoutes[string] => ({
    async POST(request) {
      const { by } = request.caller();
      const name = request.part("name");
      const changed = await ports.schedules()[verb](name, by);
      if (changed) ports.log.info(`schedule ${verb}d`, { schedule: name, by });
      return { name, changed };
    },
  });
  return {
    "/v1/schedules": { GET: () => ({ items: ports.schedules().list().map(scheduleView), next: null }) },
    "/v1/schedules/:name/pause": change("pause"),
    "/v1/schedules/:name/resume": change("resume"),
    "/v1/schedules/:name/next": {
      GET(request) {
        const { limit } = request.query(nextSchema);
        const times = ports.schedules().next(request.part("name"), limit);
        return { items: times.map(({ atMs, shift }) => ({ at: time(atMs), shift })), next: null };
      },
    },
  };
}

function scheduleView({ nextMs, lastFiredMs, paused, ...rest }: ControlSchedule) {
  return {
    ...rest,
    nextAt: timeOrNull(nextMs),
    lastFiredAt: timeOrNull(lastFiredMs),
    pausedBy: paused?.by ?? null,
    pausedAt: timeOrNull(paused?.atMs ?? null),
  };
}

function time(ms: number): string {
  return new Date(ms).toISOString();
}

function timeOrNull(ms: number | null): string | null {
  return ms === null ? null : time(ms);
}
