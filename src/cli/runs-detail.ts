import * as v from "valibot";
import { runDetailSchema, runItemSchema, stepItemSchema } from "../hub/api/views.ts";

/**
 * A run as the command line shows it. Agents tell more of a run than hubs do, and newer ones more than older ones: what is
 * missing, or is not what is expected, counts as not told.
 */
const told = <T>(schema: v.GenericSchema<unknown, T>) =>
  v.fallback(v.optional(v.nullable(schema)), undefined) as v.GenericSchema<unknown, T | null | undefined>;
const text = v.string();
const error = v.looseObject({ code: text, message: text });

const stepSchema = v.looseObject({
  ...stepItemSchema.entries,
  work: told(text),
  waits: told(text),
  retryAt: told(text),
  deadlineAt: told(text),
  origin: told(
    v.looseObject({
      foreach: told(v.looseObject({ step: text, index: v.number(), value: v.optional(v.unknown()) })),
      addedBy: told(text),
      undoes: told(text),
    }),
  ),
  child: told(text),
  skip: told(text),
  approval: told(v.looseObject({ text, by: v.optional(text), note: v.optional(text) })),
  tries: told(
    v.array(
      v.looseObject({
        number: v.number(),
        state: text,
        startedAt: text,
        endedAt: v.nullable(text),
        error: v.nullable(error),
      }),
    ),
  ),
});
export type ShownStep = v.InferOutput<typeof stepSchema>;

const MORE = {
  starter: told(v.looseObject({ kind: text, by: text })),
  params: v.optional(v.unknown()),
  retryOf: told(text),
  parent: told(v.looseObject({ run: text, step: text })),
  stop: told(v.looseObject({ state: text, by: text, reason: text })),
  output: v.optional(v.unknown()),
} as const;

const itemSchema = v.looseObject({
  ...runItemSchema.entries,
  ...MORE,
  /** Steps under way. */
  current: told(v.array(text)),
  /** It takes longer than its pipeline's `warn_after`. */
  overdue: told(v.boolean()),
});
export type ShownItem = v.InferOutput<typeof itemSchema>;

const detailSchema = v.looseObject({
  ...runDetailSchema.entries,
  ...MORE,
  deadlineAt: told(text),
  steps: v.array(stepSchema),
  /** Declared steps of parts that have not begun. */
  later: told(v.array(v.looseObject({ step: text, part: text, action: text }))),
  children: told(
    v.array(v.looseObject({ id: text, pipeline: text, state: text, step: v.nullable(text), kind: text })),
  ),
});
export type ShownRun = v.InferOutput<typeof detailSchema>;

export function shownRun(run: unknown): ShownRun {
  return v.parse(detailSchema, run);
}

export function shownItem(run: unknown): ShownItem {
  return v.parse(itemSchema, run);
}

/** `rule NAME`, `manual local:1000`, `retry of …`. */
export function starterText(run: Pick<ShownItem, "starter" | "rule">): string {
  if (run.starter)
    return run.starter.kind === "rule" ? `rule ${run.starter.by}` : `${run.starter.kind} ${run.starter.by}`;
  return run.rule === null ? "-" : `rule ${run.rule}`;
}

/** `code: message` of a step's error; what an action returned is not trusted to have the shape. */
export function errorText(value: unknown): string {
  if (value === null || value === undefined) return "";
  if (typeof value !== "object") return String(value);
  const { code, message } = value as { code?: unknown; message?: unknown };
  if (typeof message !== "string") return JSON.stringify(value);
  return typeof code === "string" ? `${code}: ${message}` : message;
}
