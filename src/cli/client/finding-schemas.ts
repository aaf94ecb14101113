import * as v from "valibot";

/** What the control socket answers about findings (agent/local/control-findings.ts). */
const text = v.string();
const maybe = v.nullable(text);
export const findingSchema = v.looseObject({
  id: text,
  rule: text,
  key: text,
  severity: text,
  title: text,
  state: text,
  count: v.number(),
  firstAt: text,
  lastAt: text,
  resolvedAt: maybe,
  data: v.any(),
  event: v.nullable(v.looseObject({ source: text, id: text })),
  run: maybe,
  silencedBy: v.optional(maybe),
  acknowledgedBy: maybe,
  acknowledgedAt: maybe,
  resolution: maybe,
  resolvedBy: maybe,
  reason: maybe,
  notes: v.array(v.looseObject({ by: text, at: text, text })),
});
export type FindingItem = v.InferOutput<typeof findingSchema>;

export const findingsSchema = v.looseObject({ items: v.array(findingSchema), next: maybe });
