import * as v from "valibot";

/**
 * What the API answers, as schemas: the hub builds values of these types, and the command line parses with them.
 * Loose, so that a client keeps fields that a newer hub adds. Times are RFC 3339 in UTC.
 */
const text = v.string();
const nullableText = v.nullable(v.string());
const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const object = v.record(v.string(), v.unknown());

export const AGENT_STATUSES = ["online", "late", "offline"] as const;

export const apiInfoSchema = v.looseObject({ name: v.literal("holdfast"), version: text });
export type ApiInfo = v.InferOutput<typeof apiInfoSchema>;

export const agentItemSchema = v.looseObject({
  id: text,
  status: v.picklist(AGENT_STATUSES),
  /** A session to this hub is open right now. */
  connected: v.boolean(),
  transport: v.nullable(v.string()),
  connectedAt: v.nullable(v.string()),
  lastHeartbeatAt: nullableText,
  lastHelloAt: nullableText,
  enrolledAt: text,
  version: nullableText,
  labels: v.record(v.string(), text),
});
export type AgentItem = v.InferOutput<typeof agentItemSchema>;

export const streamItemSchema = v.looseObject({
  epoch: text,
  lane: text,
  segment: count,
  /** Last number that is committed here. */
  number: count,
  /** Hash of that row, in hex. */
  hash: text,
  /** Rows that came with a number already taken by another row; set aside, not lost. */
  forked: count,
});
export type StreamItem = v.InferOutput<typeof streamItemSchema>;

export const lossItemSchema = v.looseObject({
  epoch: text,
  lane: text,
  segment: count,
  /** Numbers of the stream that no rows stand behind. */
  first: count,
  last: count,
  /** How many rows of which class. */
  counts: v.record(v.string(), count),
  /** `cap`: more waited for the hub than the agent may keep. `damaged`: its store was. */
  reason: text,
  /** By the agent's trusted clock. */
  at: nullableText,
  receivedAt: text,
});
export type LossItem = v.InferOutput<typeof lossItemSchema>;

export const agentDetailSchema = v.looseObject({
  ...agentItemSchema.entries,
  publicKey: text,
  certificate: v.looseObject({ serial: text, expiresAt: text }),
  epoch: nullableText,
  clockOffsetMs: v.nullable(v.number()),
  facts: object,
  /** Status document of the last heartbeat: health checks, triggers, actions, outputs. */
  report: object,
  streams: v.array(streamItemSchema),
  /** Rows that the agent gave up before the hub had them. Absent in answers of the first versions. */
  lostRows: v.optional(count, 0),
});
export type AgentDetail = v.InferOutput<typeof agentDetailSchema>;

export const eventItemSchema = v.looseObject({
  n: count,
  agent: text,
  source: text,
  id: text,
  type: text,
  subject: nullableText,
  severity: nullableText,
  time: text,
  receivedAt: text,
  event: object,
});
export type EventItem = v.InferOutput<typeof eventItemSchema>;

export const runItemSchema = v.looseObject({
  n: count,
  agent: text,
  id: text,
  pipeline: text,
  rule: nullableText,
  state: text,
  reason: nullableText,
  event: v.nullable(v.looseObject({ source: text, id: text })),
  createdAt: text,
  startedAt: nullableText,
  endedAt: nullableText,
  /** Absent from an older hub; null of a run that an older agent told of. */
  starter: v.optional(v.nullable(v.looseObject({ kind: text, by: text }))),
  parent: v.optional(v.nullable(v.looseObject({ run: text, step: text }))),
  retryOf: v.optional(nullableText),
});
export type RunItem = v.InferOutput<typeof runItemSchema>;

export const stepItemSchema = v.looseObject({
  step: text,
  position: count,
  part: text,
  action: text,
  effect: text,
  needs: v.array(text),
  state: text,
  attempts: count,
  key: text,
  startedAt: nullableText,
  endedAt: nullableText,
  output: v.unknown(),
  error: v.unknown(),
  reason: nullableText,
  /** While it is `waiting`: needs, approval, decision or lock. */
  waits: v.optional(nullableText),
  /** Run that a step of the kind `pipeline` began. */
  child: v.optional(nullableText),
  /** Of a step that the pipeline does not declare: an item of a `foreach`, an added one, an undo. */
  origin: v.optional(
    v.nullable(
      v.looseObject({
        foreach: v.optional(v.looseObject({ step: text, index: count })),
        addedBy: v.optional(text),
        undoes: v.optional(text),
      }),
    ),
  ),
});
export type StepItem = v.InferOutput<typeof stepItemSchema>;

export const runDetailSchema = v.looseObject({ ...runItemSchema.entries, steps: v.array(stepItemSchema) });
export type RunDetail = v.InferOutput<typeof runDetailSchema>;

export const statsSchema = v.looseObject({
  agents: count,
  events: count,
  runs: count,
  records: count,
  agentsByStatus: v.looseObject({ online: count, late: count, offline: count }),
});
export type Stats = v.InferOutput<typeof statsSchema>;

export const joinTokenSchema = v.looseObject({ token: text, expiresAt: text, uses: count, command: text });
export type JoinToken = v.InferOutput<typeof joinTokenSchema>;

/** The key that receipts are signed with from now on, by its certificate's serial, and how many there have been. */
export const receiptKeySchema = v.looseObject({ serial: text, certificates: count });
export type ReceiptKey = v.InferOutput<typeof receiptKeySchema>;

/** A page of a list; `next` is the cursor of the following page, null at the end. */
export interface Page<T> {
  items: T[];
  next: string | null;
}

export function pageSchema<T>(item: v.GenericSchema<unknown, T>): v.GenericSchema<unknown, Page<T>> {
  return v.looseObject({ items: v.array(item), next: nullableText }) as v.GenericSchema<unknown, Page<T>>;
}

/** RFC 9457, with the stable `code`, the request's id, and for bad parameters a line each in `errors`. */
export const problemSchema = v.looseObject({
  type: text,
  title: text,
  status: v.number(),
  detail: text,
  code: text,
  requestId: v.optional(text),
  errors: v.optional(v.array(v.object({ path: text, message: text }))),
});
export type Problem = v.InferOutput<typeof problemSchema>;
