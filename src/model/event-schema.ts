import * as v from "valibot";
import { SEVERITIES } from "./event.ts";
import type { Json } from "./json.ts";

const text = (max: number) => v.pipe(v.string(), v.minLength(1), v.maxLength(max));

/** Schema of a `ProposedEvent`, for the edge where a worker's bytes come in. */
export const proposedEventSchema = v.object({
  type: v.pipe(text(256), v.regex(/^[\w.:/-]+$/, "an event type has letters, digits and . _ - : / only")),
  id: v.optional(text(256)),
  subject: v.optional(text(1024)),
  time: v.optional(v.pipe(v.string(), v.isoTimestamp())),
  data: v.optional(v.custom<Json>(() => true)),
  severity: v.optional(v.picklist(SEVERITIES)),
});
