import * as v from "valibot";

/** What the command line prints of `Explanation` (src/model/explanation.ts); what is unknown is left as it is. */
const text = v.string();
const maybe = v.nullable(text);
const who = { by: text, user: maybe };

const rule = v.looseObject({ name: text, version: maybe, now: maybe, text: v.unknown() });

const attempt = v.looseObject({
  number: v.number(),
  state: text,
  startedAt: text,
  endedAt: maybe,
  error: v.nullable(v.looseObject({ code: text, message: text })),
  worker: v.nullable(
    v.looseObject({
      plugin: text,
      version: text,
      granted: v.looseObject({
        sandbox: v.picklist(["on", "off"]),
        permissions: v.record(text, v.array(text)),
        resources: v.record(text, text),
        narrowed: v.array(text),
        hidden: v.array(text),
      }),
      protections: v.nullable(v.record(text, text)),
    }),
  ),
  ended: v.nullable(v.looseObject({ cause: text, text, memory: v.number(), cpu: v.number() })),
});

const step = v.looseObject({
  step: text,
  part: text,
  action: text,
  work: text,
  effect: text,
  state: text,
  reason: maybe,
  key: text,
  done: v.picklist(["yes", "no", "maybe"]),
  startedAt: maybe,
  endedAt: maybe,
  attempts: v.array(attempt),
  approval: v.nullable(v.looseObject({ text })),
  words: v.array(v.looseObject({ ...who, approved: v.boolean(), at: maybe, note: text })),
  child: maybe,
  held: maybe,
});

const event = v.looseObject({
  source: maybe,
  id: text,
  gone: v.boolean(),
  trigger: maybe,
  plugin: maybe,
  rule: v.nullable(rule),
  type: maybe,
  subject: maybe,
  severity: maybe,
  time: maybe,
  data: v.unknown(),
  hops: v.nullable(v.number()),
});

const from = v.looseObject({
  id: text,
  step: maybe,
  relation: v.picklist(["parent", "spawn", "later", "retry"]),
  gone: v.boolean(),
  pipeline: maybe,
  state: maybe,
  started: v.nullable(v.looseObject({ ...who, kind: text })),
  createdAt: maybe,
});

export const explanationSchema = v.looseObject({
  agent: text,
  run: v.looseObject({
    n: v.number(),
    id: text,
    pipeline: text,
    version: text,
    state: text,
    reason: maybe,
    params: v.unknown(),
    priority: v.number(),
    concurrencyKey: maybe,
    stop: v.nullable(v.looseObject({ ...who, state: text, reason: text })),
    createdAt: text,
    startedAt: maybe,
    endedAt: maybe,
    held: maybe,
  }),
  steps: v.array(step),
  started: v.looseObject({ ...who, kind: text, schedule: maybe }),
  rule: v.nullable(rule),
  events: v.array(event),
  from: v.array(from),
  config: v.nullable(v.looseObject({ hash: text, inForce: v.nullable(v.boolean()) })),
  missing: v.array(text),
});
export type ShownExplanation = v.InferOutput<typeof explanationSchema>;
export type ShownExplainedStep = v.InferOutput<typeof step>;
export type ShownRule = v.InferOutput<typeof rule>;
