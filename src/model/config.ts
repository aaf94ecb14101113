import * as v from "valibot";
import { isDuration, parseDuration } from "../core/duration.ts";
import { LOG_LEVELS } from "../core/logger.ts";
import { AGENT_ID } from "./agent-id.ts";
import { count, described, duration, NAME, name, settings, size } from "./config-fields.ts";
import { SEVERITIES } from "./event.ts";
import { DEFAULT_NAMESPACE, RESERVED_NAMESPACE } from "./namespace.ts";
import { outputSchema } from "./output-config.ts";
import { EFFECTS, PARAMETER_TYPES } from "./pipeline.ts";
import { PARAMETER_NAME } from "./shared-parameter.ts";
import { sharedParameterSchema } from "./shared-parameter-schema.ts";
import { WINDOW_FUNCTIONS } from "./rule.ts";
import { MISSED_POLICIES } from "./schedule-policy.ts";

/** Of a limit that something must fit under. */
const megabytes = v.pipe(
  size,
  v.check((text) => /^0*[1-9]\d*(MB|GB)$/.test(text), "1MB or more, in MB or GB"),
);
const namespace = v.pipe(
  name,
  v.check(
    (text) => text !== RESERVED_NAMESPACE,
    `another namespace: ${RESERVED_NAMESPACE} is the agent's own`,
  ),
);
const label = v.pipe(v.string(), v.maxLength(128));
const listen = v.pipe(
  v.string(),
  v.regex(/^(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}$/, "an address and a port, like 127.0.0.1:9110"),
);
const oneOrMany = (item: v.GenericSchema<string>) => v.union([item, v.array(item)]);

const sharedParameters = v.record(
  v.pipe(v.string(), v.regex(PARAMETER_NAME, "a parameter's name")),
  sharedParameterSchema,
);

export const triggerSchema = v.strictObject({
  name: described(name, "Name of this trigger; rules refer to it"),
  plugin: described(name, "Trigger plugin to run"),
  enabled: v.optional(v.boolean(), true),
  with: described(v.optional(settings, {}), "Settings of the plugin"),
});

const cel = (description: string) => v.pipe(v.string(), v.minLength(1), v.description(description));
const severity = v.picklist(SEVERITIES);
const priority = v.pipe(v.number(), v.integer(), v.minValue(-1000), v.maxValue(1000));

export const ruleSchema = v.strictObject({
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(200)),
  enabled: v.optional(v.boolean(), true),
  namespace: described(
    v.optional(namespace, DEFAULT_NAMESPACE),
    "Whose memory its expressions see as memory",
  ),
  priority: described(v.optional(priority, 0), "Rules with a higher one come first"),
  on: described(
    oneOrMany(v.string()),
    "Name of the trigger, a list of names, `rule:NAME` for what a rule emits, `schedule:NAME` for when one is due, or * for everything",
  ),
  type: described(v.optional(oneOrMany(v.string())), "Event type or types; every type when absent"),
  when: described(v.optional(v.string()), "CEL condition over event and agent"),
  by: v.optional(
    cel("CEL key, such as event.subject: windows, sequences, cooldowns … are separate for each key"),
  ),
  window: described(
    v.optional(
      v.strictObject({
        over: described(duration, "How far back it looks"),
        compute: described(
          v.optional(v.picklist(WINDOW_FUNCTIONS), "count"),
          "What is computed over its events",
        ),
        of: v.optional(cel("CEL value of one event; needed by everything but count")),
        is: cel("CEL condition over window.value, window.count and window.key"),
      }),
    ),
    "Fires when a computation over recent events meets a condition",
  ),
  sequence: described(
    v.optional(
      v.strictObject({
        within: duration,
        steps: v.pipe(
          v.array(
            v.strictObject({
              type: v.optional(oneOrMany(v.string())),
              when: v.optional(cel("CEL condition")),
            }),
          ),
          v.minLength(2),
          v.maxLength(8),
        ),
      }),
    ),
    "Fires when these events come one after the other",
  ),
  absence: described(
    v.optional(v.strictObject({ for: duration })),
    "Fires when no event of the rule came for this time",
  ),
  debounce: described(v.optional(duration, "0s"), "Fires only after so long without another match"),
  throttle: described(
    v.optional(v.strictObject({ count: count(10_000), per: duration })),
    "Fires at most so often in this time",
  ),
  cooldown: described(v.optional(duration, "0s"), "Least time between two firings"),
  run: described(v.optional(name), "Pipeline to run"),
  params: described(
    v.optional(settings, {}),
    "Values that the pipeline sees as params; may hold ${{ }} templates",
  ),
  emit: described(
    v.optional(
      v.strictObject({
        type: v.pipe(v.string(), v.regex(/^[\w.:/-]{1,256}$/, "an event type")),
        subject: v.optional(v.string()),
        severity: v.optional(severity),
        data: v.optional(settings, {}),
      }),
    ),
    "Event to emit; rules listen to it with on: rule:NAME",
  ),
  finding: described(
    v.optional(
      v.strictObject({
        severity: v.optional(severity, "warning"),
        title: v.pipe(v.string(), v.minLength(1), v.maxLength(500)),
        key: described(
          v.optional(v.string()),
          "Findings with the same key are one, counted; may hold ${{ }}",
        ),
        data: v.optional(settings, {}),
        resolved_when: v.optional(cel("CEL condition over an event with the same key that ends the finding")),
        resolve_after: described(
          v.optional(duration),
          "Ends the finding when it was not raised again for so long",
        ),
      }),
    ),
    "Finding to open for people to look at",
  ),
});

export const retrySchema = v.strictObject({
  attempts: described(v.optional(count(100), 1), "Tries in all"),
  backoff: v.optional(v.picklist(["fixed", "linear", "exponential"]), "exponential"),
  initial: v.optional(duration, "1s"),
  max: v.optional(duration, "1m"),
});

const effect = described(
  v.optional(v.picklist(EFFECTS)),
  "What an unknown outcome means; default: what the action declares",
);
const exclusive = described(
  v.optional(
    v.strictObject({
      lock: described(
        v.pipe(v.string(), v.minLength(1), v.maxLength(256)),
        "Name of the lock in the pipeline's namespace",
      ),
      busy: described(
        v.optional(v.picklist(["queue", "abort"]), "queue"),
        "Wait in line, or end the run, while another run holds it",
      ),
    }),
  ),
  "Lock that the run holds from here until it ends",
);

const undoSchema = v.strictObject({
  action: name,
  with: v.optional(settings, {}),
  timeout: v.optional(duration, "30s"),
  retry: v.optional(retrySchema, {}),
  effect,
});

export const stepSchema = v.strictObject({
  id: v.pipe(v.string(), v.regex(/^[a-zA-Z_]\w{0,63}$/, "an id: a letter, then letters, digits and _")),
  action: described(v.optional(name), "Action plugin to invoke"),
  pipeline: described(v.optional(name), "Pipeline to run as a part of this one, instead of an action"),
  approval: described(
    v.optional(
      v.strictObject({
        text: v.pipe(v.string(), v.minLength(1), v.maxLength(2000)),
        timeout: v.optional(duration, "1h"),
        approvers: described(
          v.optional(v.pipe(v.array(v.pipe(v.string(), v.minLength(1))), v.minLength(1), v.maxLength(26)), [
            "*",
          ]),
          "Who may answer: user:NAME, local:UID, or * for whoever reaches the control socket",
        ),
        strict: described(v.optional(v.boolean(), true), "Who started the run may not approve it"),
      }),
    ),
    "A person says yes or no, instead of an action",
  ),
  needs: described(v.optional(v.array(v.string()), []), "Steps that must succeed first"),
  when: v.optional(cel("CEL condition; when false the step is left out and the others go on")),
  foreach: described(
    v.optional(
      v.union([v.string(), v.strictObject({ in: v.string(), concurrency: v.optional(count(1000), 10) })]),
    ),
    "CEL list; the step runs once for each element, which it sees as item.value and item.index",
  ),
  with: described(v.optional(settings, {}), "Input of the action; may hold ${{ }} templates"),
  timeout: described(v.optional(duration, "30s"), "Time for one attempt"),
  deadline: described(v.optional(duration), "Time for all attempts and the waits between them"),
  retry: v.optional(retrySchema, {}),
  effect,
  undo: described(v.optional(undoSchema), "What takes the step back when a later one fails"),
  exclusive,
  breaker: described(
    v.optional(
      v.strictObject({
        destination: v.optional(v.pipe(v.string(), v.minLength(1))),
        failures: v.optional(count(1000), 5),
        delay: v.optional(duration, "30s"),
      }),
    ),
    "Refuses calls for a while when the destination keeps failing; default: the origin of with.url",
  ),
});

export const parameterSchema = v.strictObject({
  type: v.optional(v.picklist(PARAMETER_TYPES), "string"),
  description: v.optional(v.pipe(v.string(), v.maxLength(500)), ""),
  required: described(v.optional(v.boolean()), "Default: true when there is no default"),
  default: v.optional(v.any()),
  pattern: described(v.optional(v.string()), "RE2 expression that the whole text must match"),
  choices: v.optional(v.pipe(v.array(v.string()), v.minLength(1), v.maxLength(100))),
});

export const pipelineSchema = v.strictObject({
  namespace: described(
    v.optional(namespace, DEFAULT_NAMESPACE),
    "Whose memory, parameters, secrets and locks its steps share",
  ),
  description: v.optional(v.pipe(v.string(), v.maxLength(500)), ""),
  params: described(
    v.optional(
      v.record(v.pipe(v.string(), v.regex(/^[a-zA-Z_]\w{0,63}$/, "a parameter's name")), parameterSchema),
    ),
    "Parameters that it takes; without this section it takes any",
  ),
  concurrency: described(
    v.optional(count(1000), 16),
    "Runs of this pipeline that may be under way at once; more wait in order",
  ),
  concurrency_by_key: described(
    v.optional(
      v.strictObject({ key: v.pipe(v.string(), v.minLength(1)), limit: v.optional(count(1000), 1) }),
    ),
    "Runs with the same key (a template over event and params) that may be under way at once",
  ),
  priority: described(v.optional(priority, 0), "Runs with a higher one get free places first"),
  deadline: described(
    v.optional(duration),
    "Longest time of a run; its finally and on_failure steps still run",
  ),
  warn_after: described(v.optional(duration), "A run that takes longer is warned about"),
  exclusive,
  side_effects_per_hour: described(
    v.optional(count(1_000_000)),
    "Attempts of actions in an hour by runs that rules start; limits.side_effects binds as well",
  ),
  output: described(v.optional(settings), "Output of the run; may hold ${{ }} templates"),
  steps: v.pipe(v.array(stepSchema), v.minLength(1), v.maxLength(500)),
  on_failure: described(
    v.optional(v.pipe(v.array(stepSchema), v.maxLength(100)), []),
    "Steps that run, in order, when the run did not succeed",
  ),
  finally: described(
    v.optional(v.pipe(v.array(stepSchema), v.maxLength(100)), []),
    "Steps that always run at the end, the last one first",
  ),
});

export const scheduleSchema = v.strictObject({
  name: described(name, "Name of this schedule; rules refer to it with on: schedule:NAME"),
  enabled: v.optional(v.boolean(), true),
  cron: described(
    v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(200))),
    "Five fields, six with seconds first, @daily and the like, @every DURATION, @init, or @once TIME",
  ),
  every: described(v.optional(duration), "Time from one firing to the next, 1s or more"),
  at: described(v.optional(v.string()), "One moment, RFC 3339, like 2027-01-01T00:00:00Z"),
  on: described(v.optional(v.picklist(["init"])), "init: each time that the agent starts"),
  time_zone: described(v.optional(v.string()), "Zone of cron, like Europe/Berlin; default: the host's"),
  run: described(v.optional(name), "Pipeline to run; without it there is only the event"),
  params: described(v.optional(settings, {}), "Parameters of the pipeline"),
  missed: described(
    v.optional(v.picklist(MISSED_POLICIES), "skip"),
    "Due times that passed while the agent was not there: none, one or all of them are made up for",
  ),
  max_missed: described(
    v.optional(count(100), 100),
    "With missed: all, how many of them at most, the newest",
  ),
  spread: described(
    v.optional(duration, "0s"),
    "Fires later by a part of this, which is the same each time and another one on each agent",
  ),
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
  ),
  params: described(
    v.optional(
      v.strictObject({
        global: v.optional(sharedParameters, {}),
        namespaces: v.optional(v.record(namespace, sharedParameters), {}),
      }),
      {},
    ),
    "Parameters that pipelines find without being given them: for all, and by namespace, which wins",
  ),
  triggers: v.optional(v.pipe(v.array(triggerSchema), v.maxLength(1000)), []),
  rules: v.optional(v.pipe(v.array(ruleSchema), v.maxLength(10_000)), []),
  pipelines: v.optional(v.record(name, pipelineSchema), {}),
  schedules: v.optional(v.pipe(v.array(scheduleSchema), v.maxLength(10_000)), []),
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
export type ScheduleConfig = v.InferOutput<typeof scheduleSchema>;
