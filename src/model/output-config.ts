import * as v from "valibot";
import { isSize, parseSize } from "../core/size.ts";
import { count, described, duration, name, settings, size } from "./config-fields.ts";
import { MAX_BACKLOG, MAX_BATCH_BYTES } from "./output-batch.ts";

const batchBytes = v.pipe(
  size,
  v.check(
    (text) => isSize(text) && parseSize(text) >= 1024 && parseSize(text) <= MAX_BATCH_BYTES,
    "a size from 1KB to 4MB",
  ),
);

export const outputSchema = v.strictObject({
  name,
  plugin: described(name, "Output plugin that receives the events"),
  match: described(v.optional(v.string()), "CEL condition over event; every event when absent"),
  enabled: v.optional(v.boolean(), true),
  silenced: described(v.optional(v.boolean(), false), "Also gets events of findings that are silenced"),
  batch: described(
    v.optional(
      v.strictObject({
        events: v.optional(count(5000), 256),
        size: v.optional(batchBytes, "1MB"),
        delay: described(v.optional(duration, "0s"), "How long a batch that is not full waits for more"),
      }),
      {},
    ),
    "How many events are handed over at once",
  ),
  retry: described(
    v.optional(
      v.strictObject({
        backoff: v.optional(v.picklist(["fixed", "linear", "exponential"]), "exponential"),
        initial: v.optional(duration, "500ms"),
        max: v.optional(duration, "30s"),
      }),
      {},
    ),
    "Waits between two tries of a batch, which is tried until it is taken",
  ),
  breaker: described(
    v.optional(
      v.strictObject({
        failures: v.optional(count(1000), 5),
        delay: v.optional(duration, "30s"),
      }),
      {},
    ),
    "After so many failures in a row there is one try after each delay",
  ),
  backlog: described(
    v.optional(count(MAX_BACKLOG), MAX_BACKLOG),
    "Events that wait at most; the oldest beyond them are let go and counted",
  ),
  with: v.optional(settings, {}),
});

export type OutputConfig = v.InferOutput<typeof outputSchema>;
