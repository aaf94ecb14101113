import { isoOrNull, isoTime } from "../../core/iso-time.ts";
import * as v from "valibot";
import { HoldfastError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { Json } from "../../model/json.ts";
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

/** A run that an action has put off. */
export interface ControlLater {
  row: {
    id: string;
    pipeline: string;
    params: Json;
    plugin: string;
    run: string;
    step: string;
    createdMs: number;
  };
  atMs: number;
}

/** What starts by time; null for an agent that has nothing to run. */
export interface ControlTimes {
  schedules: ControlSchedules;
  later: {
    list(): ControlLater[];
    /** Resolves with the whole id. Throws `not_found`, and `conflict` when it is being started. */
    cancel(id: string): Promise<string>;
  };
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
export function scheduleRoutes(ports: { schedules(): ControlTimes | null; log: Logger }): ControlRoutes {
  const times = (): ControlTimes => {
    const found = ports.schedules();
    if (found !== null) return found;
    throw new HoldfastError("not_found", "this agent has no schedules: its configuration has nothing to run");
  };
  const change = (verb: "pause" | "resume"): ControlRoutes[string] => ({
    async POST(request) {
      const { by } = request.caller();
      const name = request.part("name");
      const changed = await times().schedules[verb](name, by);
      if (changed) ports.log.info(`schedule ${verb}d`, { schedule: name, by });
      return { name, changed };
    },
  });
  return {
    "/v1/schedules": {
      GET() {
        const found = ports.schedules();
        const items = found?.schedules.list().map(scheduleView) ?? [];
        return { items, later: found?.later.list().map(laterView) ?? [], next: null };
      },
    },
    "/v1/later/:id": {
      async DELETE(request) {
        const { by } = request.caller();
        const id = await times().later.cancel(request.part("id"));
        ports.log.info("a run that was put off is cancelled", { later: id, by });
        return { id };
      },
    },
    "/v1/schedules/:name/pause": change("pause"),
    "/v1/schedules/:name/resume": change("resume"),
    "/v1/schedules/:name/next": {
      GET(request) {
        const { limit } = request.query(nextSchema);
        const due = times().schedules.next(request.part("name"), limit);
        return { items: due.map(({ atMs, shift }) => ({ at: time(atMs), shift })), next: null };
      },
    },
  };
}

function laterView({ row, atMs }: ControlLater) {
  const { id, pipeline, params, plugin, run, step, createdMs } = row;
  return { id, pipeline, params, plugin, run, step, at: time(atMs), createdAt: time(createdMs) };
}

function scheduleView({ nextMs, lastFiredMs, paused, ...rest }: ControlSchedule) {
  return {
    ...rest,
    nextAt: isoOrNull(nextMs),
    lastFiredAt: isoOrNull(lastFiredMs),
    pausedBy: paused?.by ?? null,
    pausedAt: isoOrNull(paused?.atMs ?? null),
  };
}

function time(ms: number): string {
  return isoTime(ms);
}
