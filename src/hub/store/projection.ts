import * as v from "valibot";
import { RECORD_CLASSES, type StreamRecord } from "../../model/record.ts";
import { STEP_PARTS } from "../../model/run.ts";
import type { Value } from "./database.ts";

/** What lists show of a run of records; rows are in the order of their statements in `projection-statements.ts`. */
export interface Projected {
  events: { number: number; event: EventBody }[];
  runs: { number: number; run: RunBody }[];
  steps: { number: number; step: StepBody }[];
  /** Records of a known class whose body lists cannot show. They are kept like all others. */
  unreadable: number;
}

// PostgreSQL stores no NUL in text; nothing that we list has one.
const text = v.pipe(
  v.string(),
  v.maxLength(4096),
  v.check((value) => !value.includes("\0")),
);
const optionalText = v.optional(v.nullable(text), null);
const time = v.pipe(v.number(), v.safeInteger());
const timeOrNull = v.nullable(time);
const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const eventBody = v.object({
  source: text,
  id: text,
  type: text,
  subject: optionalText,
  severity: optionalText,
  time: text,
});
export type EventBody = v.InferOutput<typeof eventBody>;

const part = v.picklist(STEP_PARTS);

const runBody = v.object({
  id: text,
  pipeline: text,
  rule: v.nullable(text),
  event: v.nullable(v.object({ source: text, id: text })),
  state: text,
  reason: v.nullable(text),
  createdMs: time,
  startedMs: timeOrNull,
  endedMs: timeOrNull,
  steps: v.array(
    v.object({
      id: text,
      action: text,
      needs: v.array(text),
      part,
      effect: text,
      work: v.optional(text),
    }),
  ),
  starter: v.optional(v.object({ kind: text, by: text })),
  parent: v.optional(v.nullable(v.object({ run: text, step: text }))),
  retryOf: v.optional(v.nullable(text)),
});
export type RunBody = v.InferOutput<typeof runBody>;
export type RunDetails = Pick<RunBody, "starter" | "parent" | "retryOf">;

const stepBody = v.object({
  run: text,
  step: text,
  action: text,
  state: text,
  attempts: count,
  key: text,
  startedMs: timeOrNull,
  endedMs: timeOrNull,
  output: v.optional(v.unknown(), null),
  error: v.optional(v.unknown(), null),
  reason: v.nullable(text),
  part: v.optional(part),
  waits: v.optional(text),
  child: v.optional(text),
  origin: v.optional(
    v.object({
      foreach: v.optional(v.object({ step: text, index: count })),
      addedBy: v.optional(text),
      undoes: v.optional(text),
      needs: v.array(text),
      effect: text,
    }),
  ),
});
export type StepBody = v.InferOutput<typeof stepBody>;
export type StepDetails = Pick<StepBody, "part" | "waits" | "child" | "origin">;

/**
 * Reads the bodies that lists need. Of several records about the same run or step only the last counts: they are in
 * order, and each tells the whole state.
 */
export function project(records: StreamRecord[]): Projected {
  const events: Projected["events"] = [];
  const runs = new Map<string, Projected["runs"][number]>();
  const steps = new Map<string, Projected["steps"][number]>();
  let unreadable = 0;
  for (const record of records) {
    const { number } = record;
    try {
      if (record.class === RECORD_CLASSES.event) {
        events.push({ number, event: v.parse(eventBody, parseBody(record.body)) });
      } else if (record.class === RECORD_CLASSES.run) {
        const run = v.parse(runBody, parseBody(record.body));
        runs.set(run.id, { number, run });
      } else if (record.class === RECORD_CLASSES.step) {
        const step = v.parse(stepBody, parseBody(record.body));
        steps.set(JSON.stringify([step.run, step.step]), { number, step });
      }
    } catch {
      unreadable++;
    }
  }
  return { events, runs: [...runs.values()], steps: [...steps.values()], unreadable };
}

function parseBody(body: Uint8Array): unknown {
  return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
}

/** Which stream the rows come from. */
export interface Origin {
  agent: string;
  stream: Value;
  epoch: string;
  segment: number;
}

export function eventValues(origin: Origin, { number, event }: Projected["events"][number]): Value[] {
  const { source, id, type, subject, severity, time: at } = event;
  return [origin.agent, source, id, type, subject, severity, at, origin.stream, number];
}

export function runValues(origin: Origin, { number, run }: Projected["runs"][number], n: number): Value[] {
  const cause = [run.event?.source ?? null, run.event?.id ?? null];
  const times = [run.createdMs, run.startedMs, run.endedMs];
  const { starter, parent, retryOf } = run;
  const details = starter === undefined ? null : JSON.stringify({ starter, parent, retryOf });
  const head = [run.id, origin.agent, n, run.pipeline, run.rule, run.state, run.reason];
  return [
    ...head,
    ...cause,
    ...times,
    JSON.stringify(run.steps),
    details,
    origin.epoch,
    origin.segment,
    number,
  ];
}

export function stepValues(origin: Origin, { number, step }: Projected["steps"][number]): Value[] {
  const head = [origin.agent, step.run, step.step, step.action, step.state, step.attempts, step.key];
  const end = [JSON.stringify(step.output), JSON.stringify(step.error), step.reason];
  const { part, waits, child, origin: from } = step;
  const details = part === undefined ? null : JSON.stringify({ part, waits, child, origin: from });
  return [...head, step.startedMs, step.endedMs, ...end, details, origin.epoch, origin.segment, number];
}
