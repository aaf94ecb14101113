import { type StepPart, stepKey } from "../../model/run.ts";
import { numberOrNull } from "./agents.ts";
import type { Row } from "./database.ts";
import type { StepView } from "./port.ts";
import type { RunBody, StepDetails } from "./projection.ts";

type Declared = RunBody["steps"][number];
type View = Omit<StepView, "position">;

const PARTS: StepPart[] = ["steps", "undo", "finally", "on_failure"];

/**
 * The steps of a run, part by part: those it declares, each with what its last record said (one without has not begun),
 * and behind each its items and what it added, as far as they have begun.
 */
export function stepsOf(run: Row, rows: Row[]): StepView[] {
  const told = new Map(rows.map((row) => [row.step as string, row]));
  const declared = JSON.parse(run.steps as string) as Declared[];
  const views = declared.map((step) => declaredView(run.id as string, step, told.get(step.id)));
  const known = new Set(declared.map(({ id }) => id));
  const others = rows.filter((row) => !known.has(row.step as string)).map(undeclaredView);
  return inOrder(views, others).map((view, position) => ({ ...view, position }));
}

function declaredView(runId: string, step: Declared, row: Row | undefined): View {
  const { waits, child } = detailsOf(row);
  return {
    step: step.id,
    part: step.part,
    action: step.action,
    effect: step.effect,
    needs: step.needs,
    waits: waits ?? null,
    child: child ?? null,
    origin: null,
    ...stateOf(row),
    key: (row?.key as string | undefined) ?? stepKey(runId, step.id),
  };
}

function undeclaredView(row: Row): View {
  const { part = "steps", waits, child, origin } = detailsOf(row);
  const { needs = [], effect = "at-most-once", ...from } = origin ?? {};
  return {
    step: row.step as string,
    part,
    action: row.action as string,
    effect,
    needs,
    waits: waits ?? null,
    child: child ?? null,
    origin: from,
    ...stateOf(row),
    key: row.key as string,
  };
}

function stateOf(row: Row | undefined) {
  return {
    state: (row?.state as string | undefined) ?? "queued",
    attempts: Number(row?.attempts ?? 0),
    startedMs: numberOrNull(row?.started),
    endedMs: numberOrNull(row?.ended),
    output: row ? (JSON.parse(row.output as string) as unknown) : null,
    error: row ? (JSON.parse(row.error as string) as unknown) : null,
    reason: (row?.reason as string | null | undefined) ?? null,
  };
}

function detailsOf(row: Row | undefined): StepDetails {
  return typeof row?.details === "string" ? (JSON.parse(row.details) as StepDetails) : {};
}

function inOrder(declared: View[], others: View[]): View[] {
  const behind = Map.groupBy(others, (view) => view.origin?.foreach?.step ?? view.origin?.addedBy ?? "");
  const placed = new Set<View>();
  const list: View[] = [];
  const place = (view: View) => {
    if (placed.has(view)) return;
    placed.add(view);
    list.push(view);
    for (const each of (behind.get(view.step) ?? []).toSorted(byOrigin)) {
      if (each.part === view.part) place(each);
    }
  };
  for (const part of PARTS) {
    for (const view of [...declared, ...others.toSorted(byStart)]) {
      const isBehind = view.part === "steps" && declared.some(({ step }) => step === parentOf(view));
      if (view.part === part && !isBehind) place(view);
    }
  }
  // A record that came before those around it, or whose origin says nothing we know: shown all the same.
  for (const view of others) place(view);
  return list;
}

function parentOf({ origin }: View): string | undefined {
  return origin?.foreach?.step ?? origin?.addedBy;
}

function byStart(one: View, other: View): number {
  return (one.startedMs ?? 0) - (other.startedMs ?? 0) || byOrigin(one, other);
}

/** Items by their index, added steps by their number, both of which end the id. */
function byOrigin(one: View, other: View): number {
  return (
    (one.origin?.foreach?.index ?? 0) - (other.origin?.foreach?.index ?? 0) ||
    one.step.length - other.step.length ||
    (one.step < other.step ? -1 : 1)
  );
}
