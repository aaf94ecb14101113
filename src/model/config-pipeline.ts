import * as v from "valibot";
import { cel, count, described, duration, name, namespace, priority, settings } from "./config-fields.ts";
import { DEFAULT_NAMESPACE } from "./namespace.ts";
import { EFFECTS, PARAMETER_TYPES } from "./pipeline.ts";

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

export type PipelineConfig = v.InferOutput<typeof pipelineSchema>;
export type StepConfig = v.InferOutput<typeof stepSchema>;
