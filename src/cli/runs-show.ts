import { plainLine, plainText } from "./plain-text.ts";
import { errorText, type ShownRun, type ShownStep, starterText } from "./runs-detail.ts";
import { glyph, type GraphRow, graphRows } from "./runs-graph.ts";
import type { GraphMarks } from "./runs-marks.ts";
import { byTime } from "./runs-follow.ts";
import { age, timeAndAge, took } from "./show-time.ts";
import { type Column, stateColor, table, type TableOptions } from "./table.ts";

export interface ShowOptions extends TableOptions {
  marks: GraphMarks;
}

const PARTS: [part: string, title: string][] = [
  ["undo", "Undo"],
  ["finally", "Finally"],
  ["on_failure", "On failure"],
];

/** Lines of `runs show`: what is known of the run, its steps as a graph, attempts, sub-runs, outputs. */
export function showRun(run: ShownRun, nowMs: number, options: ShowOptions): string[] {
  return [
    ...facts(run, nowMs, options),
    "",
    ...stepLines(run, nowMs, options),
    ...attemptLines(run, options),
    ...childLines(run, options),
    ...askLines(run),
    // What items gave is in the list that their step gave.
    ...run.steps.flatMap((step) =>
      step.origin?.foreach ? [] : outputLines(`Output of ${step.step}`, step.output),
    ),
    ...outputLines("Output of the run", run.output),
  ];
}

function facts(run: ShownRun, nowMs: number, options: ShowOptions): string[] {
  const rows: [string, string | null | undefined][] = [
    ["Run", run.id],
    ["Number", String(run.n)],
    ["Agent", run.agent],
    ["Pipeline", run.pipeline],
    ["Started by", starterText(run)],
    ["Event", run.event && `${run.event.id} of ${run.event.source}`],
    ["Parameters", isEmpty(run.params) ? null : JSON.stringify(run.params)],
    ["Part of", run.parent && `run ${run.parent.run}, step ${run.parent.step}`],
    ["Repeats", run.retryOf && `run ${run.retryOf}`],
    ["State", run.state],
    ["Reason", run.reason ?? "-"],
    ["Stopped", run.stop && `by ${run.stop.by}: ${run.stop.reason}`],
    ["Created", timeAndAge(run.createdAt, nowMs)],
    ["Started", timeAndAge(run.startedAt, nowMs)],
    ["Deadline", run.endedAt === null && run.deadlineAt ? timeAndAge(run.deadlineAt, nowMs) : null],
    [
      "Ended",
      `${timeAndAge(run.endedAt, nowMs)}${run.endedAt ? `, took ${took(run.startedAt, run.endedAt)}` : ""}`,
    ],
  ];
  return table(
    rows.filter((row): row is [string, string] => typeof row[1] === "string"),
    [
      { title: "", value: ([name]) => name },
      { title: "", value: ([, value]) => value, color: stateColor },
    ],
    { ...options, width: undefined, header: false },
  );
}

function stepLines(run: ShownRun, nowMs: number, options: ShowOptions): string[] {
  const { marks } = options;
  const graph = graphRows(
    run.steps.filter((step) => step.part === "steps"),
    marks,
  );
  const sections: (GraphRow | string)[] = [...graph.rows];
  const later = run.later ?? [];
  const notBegun: string[] = [];
  for (const [part, title] of PARTS) {
    const steps = run.steps.filter((step) => step.part === part).toSorted(byTime);
    if (steps.length > 0) sections.push(title, ...steps.map((step) => ({ graph: glyph(step, marks), step })));
    const coming = later
      .filter((step) => step.part === part)
      .map(({ step, action }) => `${step} (${action})`);
    if (coming.length > 0) notBegun.push(`${title}, not begun: ${coming.join(", ")}`);
  }
  const rows = sections.filter(
    (row): row is GraphRow & { step: ShownStep } => typeof row !== "string" && row.step !== null,
  );
  const lines = table(rows, stepColumns(nowMs, !graph.drawn), options);
  const [header, ...drawn] = lines;
  const body = sections.map((row) => {
    if (typeof row === "string") return row;
    return row.step === null ? row.graph : drawn.shift()!;
  });
  return [header!, ...body, ...notBegun.map(plainLine)];
}

function stepColumns(nowMs: number, withNeeds: boolean): Column<GraphRow & { step: ShownStep }>[] {
  const needs: Column<GraphRow & { step: ShownStep }> = {
    title: "NEEDS",
    value: ({ step }) => step.needs.join(","),
    shrinkTo: 8,
  };
  return [
    {
      title: "STEP",
      value: ({ graph, step }) =>
        `${graph} ${step.origin?.foreach ? `[${step.origin.foreach.index}]` : step.step}`,
    },
    {
      title: "ACTION",
      value: ({ step }) => (step.work === "pipeline" ? `pipeline ${step.action}` : step.action),
    },
    { title: "STATE", value: ({ step }) => step.state, color: stateColor },
    { title: "ATTEMPTS", value: ({ step }) => step.attempts },
    { title: "TOOK", value: ({ step }) => lasted(step, nowMs) },
    { title: "EFFECT", value: ({ step }) => step.effect },
    ...(withNeeds ? [needs] : []),
    { title: "REASON", value: ({ step }) => stepReason(step, nowMs), shrinkTo: 16 },
  ];
}

function lasted(step: ShownStep, nowMs: number): string {
  if (step.state !== "running" || step.startedAt === null) return took(step.startedAt, step.endedAt);
  return `${took(step.startedAt, new Date(Math.max(nowMs, Date.parse(step.startedAt))).toISOString())} so far`;
}

/** Why a step is as it is: what it waits for, who answered, what went wrong, when it is tried again. */
export function stepReason(step: ShownStep, nowMs: number): string {
  const { approval } = step;
  const { foreach, addedBy, undoes } = step.origin ?? {};
  const facts = [
    step.waits === "approval" && approval ? `waits for approval: ${approval.text}` : step.reason,
    step.waits === "approval" && step.deadlineAt ? `ends ${age(step.deadlineAt, nowMs)}` : null,
    // Of a step that was denied the reason is the error, word for word.
    errorText(step.error)?.endsWith(`: ${step.reason}`) ? null : errorText(step.error),
    step.retryAt ? `next try ${age(step.retryAt, nowMs)}` : null,
    step.child ? `run ${step.child.slice(-12)}` : null,
    addedBy ? `added by ${addedBy}` : null,
    undoes ? `takes back ${undoes}` : null,
    foreach && !isEmpty(foreach.value) ? `item ${JSON.stringify(foreach.value)?.slice(0, 80)}` : null,
  ];
  return [...new Set(facts.filter(Boolean))].join("; ");
}

/** Every attempt of the steps that needed more than one. */
function attemptLines(run: ShownRun, options: ShowOptions): string[] {
  const rows = run.steps.flatMap((step) =>
    (step.tries ?? []).length > 1 ? step.tries!.map((attempt) => ({ ...attempt, step: step.step })) : [],
  );
  if (rows.length === 0) return [];
  const lines = table(
    rows,
    [
      { title: "STEP", value: (row) => row.step },
      { title: "ATTEMPT", value: (row) => row.number },
      { title: "STATE", value: (row) => row.state, color: stateColor },
      { title: "TOOK", value: (row) => took(row.startedAt, row.endedAt) },
      { title: "ERROR", value: (row) => errorText(row.error), shrinkTo: 16 },
    ],
    options,
  );
  return ["", "Attempts", ...lines];
}

function childLines(run: ShownRun, options: ShowOptions): string[] {
  const children = run.children ?? [];
  if (children.length === 0) return [];
  const lines = table(
    children,
    [
      { title: "RUN", value: (row) => row.id },
      { title: "PIPELINE", value: (row) => row.pipeline },
      { title: "STATE", value: (row) => row.state, color: stateColor },
      { title: "OF STEP", value: (row) => row.step },
      { title: "WAITED FOR", value: (row) => (row.kind === "spawn" ? "no" : "yes") },
    ],
    options,
  );
  return ["", "Sub-runs", ...lines];
}

/** Steps that wait for a person, with the command that answers. */
function askLines(run: ShownRun): string[] {
  return run.steps
    .filter((step) => step.waits === "approval" || step.waits === "decision")
    .flatMap(({ step }) => [
      "",
      plainLine(`Step ${step} waits for a person: holdfast runs approve|deny ${run.id} --step '${step}'`),
    ]);
}

function outputLines(title: string, output: unknown): string[] {
  if (output === null || output === undefined) return [];
  const text = plainText(JSON.stringify(output, null, 2));
  return ["", plainLine(title), ...text.split("\n").map((line) => `  ${line}`)];
}

function isEmpty(value: unknown): boolean {
  return (
    value === null || value === undefined || (typeof value === "object" && Object.keys(value).length === 0)
  );
}
