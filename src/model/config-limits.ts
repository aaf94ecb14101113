import * as v from "valibot";
import { isDuration, parseDuration } from "../core/duration.ts";
import { described, duration, size } from "./config-fields.ts";

/** Of a limit that something must fit under. */
const megabytes = v.pipe(
  size,
  v.check((text) => /^0*[1-9]\d*(MB|GB)$/.test(text), "1MB or more, in MB or GB"),
);

export const limitsSection = v.optional(
  v.strictObject({
    event_size: described(v.optional(size, "256KB"), "Largest event; a larger one is refused"),
    output_size: described(v.optional(size, "256KB"), "Largest step output that is kept; the rest is cut"),
    steps: described(
      v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1000)), 64),
      "Steps that may run at once on this agent",
    ),
    runs: described(
      v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100_000)), 10_000),
      "Open runs from which on triggers are held back",
    ),
    side_effects: described(
      v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1_000_000_000)), 100_000),
      "Attempts of actions in an hour by runs that rules start",
    ),
    worker_idle: described(
      v.optional(duration, "60s"),
      "An action worker without work stops after this time",
    ),
    memory: described(
      v.optional(megabytes, "1GB"),
      "Memory of the agent and its workers together; above it workers are stopped",
    ),
    cpu: described(
      v.optional(v.pipe(v.number(), v.minValue(0.05), v.maxValue(1024)), 4),
      "Processor time of the agent and its workers together, in cores; above it triggers are slowed down",
    ),
    disk: described(
      v.optional(megabytes, "5GB"),
      "The store and the logs; above it old logs are removed, then triggers are paused",
    ),
    interval: described(
      v.optional(
        v.pipe(
          duration,
          v.check((text) => isDuration(text) && parseDuration(text) >= 1000, "1s or more"),
        ),
        "15s",
      ),
      "How often memory, cpu and disk are looked at",
    ),
  }),
  {},
);
