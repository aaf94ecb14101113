import * as v from "valibot";
import { isDuration, parseDuration } from "../core/duration.ts";
import { LOG_LEVELS } from "../core/logger.ts";
import { AGENT_ID } from "./agent-id.ts";
import { described, duration, NAME, size } from "./config-fields.ts";

const label = v.pipe(v.string(), v.maxLength(128));
const listen = v.pipe(
  v.string(),
  v.regex(/^(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}$/, "an address and a port, like 127.0.0.1:9110"),
);

export const agentSection = v.optional(
  v.strictObject({
    id: described(
      v.optional(
        v.pipe(
          v.string(),
          v.regex(AGENT_ID, "3 to 64 letters, digits, _ and -, starting with a letter or digit"),
        ),
      ),
      "Id of this agent, unique in the fleet",
    ),
    labels: v.optional(v.record(v.pipe(v.string(), v.regex(NAME, "a label name")), label), {}),
  }),
  {},
);

export const hubSection = described(
  v.optional(
    v.strictObject({
      url: v.pipe(v.string(), v.regex(/^grpcs:\/\/[^/\s]+$/, "grpcs://host:port")),
      heartbeat: described(
        v.optional(
          v.pipe(
            duration,
            v.check((text) => {
              const seconds = /^(\d+)(s|m)$/.exec(text);
              const value = seconds ? Number(seconds[1]) * (seconds[2] === "m" ? 60 : 1) : 0;
              return value >= 10 && value <= 600;
            }, "10s to 10m"),
          ),
          "30s",
        ),
        "How often the agent reports that it is alive",
      ),
      mqtt: described(
        v.optional(
          v.pipe(v.string(), v.regex(/^mqtts?:\/\/[^/@\s]+$/, "mqtts://host:port, or mqtt://host:port")),
        ),
        "Broker to reach the hub through while gRPC fails",
      ),
      failover_after: described(
        v.optional(
          v.pipe(
            duration,
            v.check(
              (text) =>
                !isDuration(text) || (parseDuration(text) >= 1000 && parseDuration(text) <= 3_600_000),
              "1s to 1h",
            ),
          ),
          "15s",
        ),
        "How long gRPC must fail before the broker is used",
      ),
    }),
  ),
  "Hub to report to; without it the agent works alone",
);

export const healthSection = v.optional(
  v.strictObject({
    listen: described(
      v.optional(listen, "127.0.0.1:9110"),
      "Loopback address of the health port; port 0 picks a free one",
    ),
  }),
  {},
);

export const logSection = v.optional(
  v.strictObject({
    level: v.optional(v.picklist(LOG_LEVELS), "info"),
    max_size: described(v.optional(size, "100MB"), "A log file is rotated at this size"),
    max_files: described(
      v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100)), 5),
      "Rotated files kept",
    ),
  }),
  {},
);
