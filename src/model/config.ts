import * as v from "valibot";
import { isDuration, parseDuration } from "../core/duration.ts";
import { LOG_LEVELS } from "../core/logger.ts";
import { EFFECTS } from "./pipeline.ts";

/** Agent ids: file names, certificate names and topics are made of them. */
export const AGENT_ID = /^[a-zA-Z0-9][a-zA-Z0-9_-]{2,63}$/;
const NAME = /^[a-zA-Z0-9][\w.:-]{0,127}$/;

const described = <T extends v.GenericSchema>(schema: T, description: string) =>
  v.pipe(schema, v.description(description)) as unknown as T;

const duration = v.pipe(
  v.string(),
  v.check(isDuration, "a duration: a number and a unit, like 250ms, 30s, 5m, 1h"),
);
const size = v.pipe(
  v.string(),
  v.regex(/^\d+(B|KB|MB|GB)$/, "a size: a number and a unit, like 64KB, 100MB"),
);
/** Of a limit that something must fit under. */
const megabytes = v.pipe(
  size,
  v.check((text) => /^0*[1-9]\d*(MB|GB)$/.test(text), "1MB or more, in MB or GB"),
);
const name = v.pipe(v.string(), v.regex(NAME, "a name: letters, digits and _ . : -, at most 128"));
const label = v.pipe(v.string(), v.maxLength(128));
const listen = v.pipe(
  v.string(),
  v.regex(/^(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}$/, "an address and a port, like 127.0.0.1:9110"),
);
const settings = v.record(v.string(), v.any());
const oneOrMany = (item: v.GenericSchema<string>) => v.union([item, v.array(item)]);

export const triggerSchema = v.strictObject({
  name: described(name, "Name of this trigger; rules refer to it"),
  plugin: described(name, "Trigger plugin to run"),
  enabled: v.optional(v.boolean(), true),
  with: described(v.optional(settings, {}), "Settings of the plugin"),
});

export const ruleSchema = v.strictObject({
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(200)),
  on: described(oneOrMany(v.string()), "Name of the trigger, a list of names, or * for every trigger"),
  type: described(v.optional(oneOrMany(v.string())), "Event type or types; every type when absent"),
  when: described(v.optional(v.string()), "CEL condition over event and agent"),
  run: described(name, "Pipeline to run"),
  params: described(
    v.optional(settings, {}),
    "Values that the pipeline sees as params; may hold ${{ }} templates",
  ),
  cooldown: described(v.optional(duration, "0s"), "Least time between two runs that this rule starts"),
  enabled: v.optional(v.boolean(), true),
});

export const retrySchema = v.strictObject({
  attempts: described(
    v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100)), 1),
    "Tries in all",
  ),
  backoff: v.optional(v.picklist(["fixed", "linear", "exponential"]), "exponential"),
  initial: v.optional(duration, "1s"),
  max: v.optional(duration, "1m"),
});

export const stepSchema = v.strictObject({
  id: v.pipe(v.string(), v.regex(/^[a-zA-Z_]\w{0,63}$/, "an id: a letter, then letters, digits and _")),
  action: described(name, "Action plugin to invoke"),
  needs: described(v.optional(v.array(v.string()), []), "Steps that must succeed first"),
  with: described(v.optional(settings, {}), "Input of the action; may hold ${{ }} templates"),
  timeout: v.optional(duration, "30s"),
  retry: v.optional(retrySchema, {}),
  effect: described(
    v.optional(v.picklist(EFFECTS)),
    "What an unknown outcome means; default: what the action declares",
  ),
});

export const pipelineSchema = v.strictObject({
  namespace: v.optional(name, "default"),
  concurrency: described(
    v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1000)), 16),
    "Runs of this pipeline that may be under way at once; more wait in order",
  ),
  steps: v.pipe(v.array(stepSchema), v.minLength(1), v.maxLength(500)),
  on_failure: v.optional(v.pipe(v.array(stepSchema), v.maxLength(100)), []),
});

export const outputSchema = v.strictObject({
  name,
  plugin: described(name, "Output plugin that receives the events"),
  match: described(v.optional(v.string()), "CEL condition over event; every event when absent"),
  enabled: v.optional(v.boolean(), true),
  with: v.optional(settings, {}),
});

/** The agent's configuration document (DESIGN section 5): source of validation and of the JSON Schema. */
export const configSchema = v.strictObject({
  agent: v.optional(
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
  ),
  hub: described(
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
      }),
    ),
    "Hub to report to; without it the agent works alone",
  ),
  health: v.optional(
    v.strictObject({
      listen: described(
        v.optional(listen, "127.0.0.1:9110"),
        "Loopback address of the health port; port 0 picks a free one",
      ),
    }),
    {},
  ),
  log: v.optional(
    v.strictObject({
      level: v.optional(v.picklist(LOG_LEVELS), "info"),
      max_size: described(v.optional(size, "100MB"), "A log file is rotated at this size"),
      max_files: described(
        v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100)), 5),
        "Rotated files kept",
      ),
    }),
    {},
  ),
  limits: v.optional(
    v.strictObject({
      event_size: described(v.optional(size, "256KB"), "Largest event; a larger one is refused"),
      output_size: described(v.optional(size, "256KB"), "Largest step output that is kept; the rest is cut"),
      steps: described(
        v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(1000)), 64),
        "Steps that may run at once on this agent",
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
  ),
  triggers: v.optional(v.pipe(v.array(triggerSchema), v.maxLength(1000)), []),
  rules: v.optional(v.pipe(v.array(ruleSchema), v.maxLength(10_000)), []),
  pipelines: v.optional(v.record(name, pipelineSchema), {}),
  outputs: v.optional(v.pipe(v.array(outputSchema), v.maxLength(100)), []),
});

/** The document as a person writes it. */
export type ConfigInput = v.InferInput<typeof configSchema>;
/** The document with every default filled in. */
export type Config = v.InferOutput<typeof configSchema>;
export type TriggerConfig = v.InferOutput<typeof triggerSchema>;
export type RuleConfig = v.InferOutput<typeof ruleSchema>;
export type PipelineConfig = v.InferOutput<typeof pipelineSchema>;
export type StepConfig = v.InferOutput<typeof stepSchema>;
export type OutputConfig = v.InferOutput<typeof outputSchema>;
