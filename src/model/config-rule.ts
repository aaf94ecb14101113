import * as v from "valibot";
import {
  cel,
  count,
  described,
  duration,
  name,
  namespace,
  oneOrMany,
  priority,
  settings,
} from "./config-fields.ts";
import { SEVERITIES } from "./event.ts";
import { DEFAULT_NAMESPACE } from "./namespace.ts";
import { WINDOW_FUNCTIONS } from "./rule.ts";

const severity = v.picklist(SEVERITIES);

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

export type RuleConfig = v.InferOutput<typeof ruleSchema>;
