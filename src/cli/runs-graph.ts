import type { ShownStep } from "./runs-detail.ts";
import type { GraphMarks } from "./runs-marks.ts";

/** A step with what is drawn before its name; `step` is null for a row that only connects. */
export interface GraphRow {
  graph: string;
  step: ShownStep | null;
}

/** More lanes than this make no picture: the steps are listed, and NEEDS tells the rest. */
const MAX_LANES = 12;

/**
 * The steps of a run's first part as a graph, from what needs nothing to what needs everything: one row a step, and rows
 * that connect them. Items of a `foreach` stand below their step; steps that were added stand between the one that added
 * them and what needs it.
 */
export function graphRows(steps: ShownStep[], marks: GraphMarks): { rows: GraphRow[]; drawn: boolean } {
  const items = Map.groupBy(
    steps.filter((step) => step.origin?.foreach),
    (step) => step.origin!.foreach!.step,
  );
  const nodes = steps.filter((step) => !step.origin?.foreach);
  const needs = edges(nodes);
  const order = inOrder(nodes, needs);
  const rows = drawn(order, reduced(order, needs), marks);
  const shown = rows ?? order.map((step) => ({ graph: glyph(step, marks), step, below: "" }));
  return {
    drawn: rows !== null,
    rows: shown.flatMap((row) => [
      { graph: row.graph, step: row.step },
      ...itemRows(row.step === null ? [] : (items.get(row.step.step) ?? []), row.below, marks),
    ]),
  };
}

export function glyph(step: { state: string }, marks: GraphMarks): string {
  return marks.states[step.state] ?? marks.other;
}

type Needs = Map<string, Set<string>>;

/** What each step follows, with steps that were added in their places: A, its additions in turn, then what needs A. */
function edges(nodes: ShownStep[]): Needs {
  const known = new Set(nodes.map((node) => node.step));
  const added = Map.groupBy(
    nodes.filter((node) => node.origin?.addedBy),
    (node) => node.origin!.addedBy!,
  );
  for (const list of added.values()) list.sort((a, b) => additionNumber(a) - additionNumber(b));
  const tail = (id: string): string => {
    const last = added.get(id)?.at(-1);
    return last === undefined ? id : tail(last.step);
  };
  return new Map(
    nodes.map((node) => {
      const adder = node.origin?.addedBy;
      if (!adder) return [node.step, new Set(node.needs.filter((id) => known.has(id)).map(tail))];
      const siblings = added.get(adder)!;
      const before = siblings[siblings.indexOf(node) - 1];
      const need = before === undefined ? adder : tail(before.step);
      return [node.step, new Set(known.has(need) ? [need] : [])];
    }),
  );
}

/** 2 of `a+1+2`. */
function additionNumber(step: ShownStep): number {
  return Number(/\+(\d+)$/.exec(step.step)?.[1] ?? 0);
}

/** What is needed comes first; else the order in which the steps were declared. */
function inOrder(nodes: ShownStep[], needs: Needs): ShownStep[] {
  const byId = new Map(nodes.map((node) => [node.step, node]));
  const placed = new Set<string>();
  const order: ShownStep[] = [];
  const place = (node: ShownStep) => {
    if (placed.has(node.step)) return;
    placed.add(node.step);
    for (const need of needs.get(node.step) ?? []) place(byId.get(need)!);
    order.push(node);
  };
  for (const node of nodes) place(node);
  return order;
}

/** Leaves out what follows from the rest: with a → b → c no line from a to c. */
function reduced(order: ShownStep[], needs: Needs): Needs {
  // All that lies above a step, as a set of bits by place in the order: a thousand steps are quick this way.
  const above = new Map<string, bigint>();
  const bits = new Map(order.map(({ step }, index) => [step, 1n << BigInt(index)]));
  for (const { step } of order) {
    const own = [...needs.get(step)!];
    const far = own.reduce((all, need) => all | above.get(need)!, 0n);
    const direct = own.filter((need) => (far & bits.get(need)!) === 0n);
    needs.set(step, new Set(direct));
    above.set(
      step,
      direct.reduce((all, need) => all | bits.get(need)!, far),
    );
  }
  return needs;
}

interface DrawnRow extends GraphRow {
  /** What stands before rows below this one. */
  below: string;
}

/** Each lane leads down to one step; null when there are too many. */
function drawn(order: ShownStep[], needs: Needs, marks: GraphMarks): DrawnRow[] | null {
  const dependents = new Map<string, string[]>(order.map(({ step }) => [step, []]));
  for (const { step } of order) for (const need of needs.get(step)!) dependents.get(need)!.push(step);
  const lanes: (string | null)[] = [];
  const rows: DrawnRow[] = [];
  let endedLane: number | undefined;
  for (const node of order) {
    const own = lanes.flatMap((target, lane) => (target === node.step ? [lane] : []));
    const lane = own[0] ?? freeLane(lanes, 0);
    // A gap, or it would look as if this step came from the one above.
    if (own.length === 0 && lane === endedLane) {
      rows.push({ graph: laneText(lanes, marks, () => undefined), step: null, below: "" });
    }
    if (own.length > 1) rows.push(connection(lanes, lane, own.slice(1), "merge", marks));
    for (const merged of own.slice(1)) lanes[merged] = null;
    lanes[lane] = node.step;
    const graph = laneText(lanes, marks, (index) => (index === lane ? glyph(node, marks) : undefined));
    const next = dependents.get(node.step)!;
    lanes[lane] = next[0] ?? null;
    endedLane = next.length === 0 ? lane : undefined;
    const opened = next.slice(1).map((target) => {
      const free = freeLane(lanes, lane + 1);
      lanes[free] = target;
      return free;
    });
    while (lanes.at(-1) === null) lanes.pop();
    if (lanes.length > MAX_LANES) return null;
    const closed = lanes.map((target, index) => (opened.includes(index) ? null : target));
    rows.push({ graph, step: node, below: laneText(closed, marks, () => undefined) });
    if (opened.length > 0) rows.push(connection(lanes, lane, opened, "split", marks));
  }
  return rows;
}

function freeLane(lanes: (string | null)[], from: number): number {
  for (let lane = from; lane < lanes.length; lane++) if (lanes[lane] === null) return lane;
  while (lanes.length < from) lanes.push(null);
  return lanes.push(null) - 1;
}

/** A row of lines that leave the lane `from` to others, or come back to it. */
function connection(
  lanes: (string | null)[],
  from: number,
  others: number[],
  kind: "split" | "merge",
  marks: GraphMarks,
): DrawnRow {
  const last = others.at(-1)!;
  const [inner, end] = kind === "split" ? [marks.split, marks.splitEnd] : [marks.merge, marks.mergeEnd];
  const graph = laneText(
    lanes,
    marks,
    (lane) =>
      lane === from
        ? marks.join
        : lane === last
          ? end
          : others.includes(lane)
            ? inner
            : lane > from && lane < last && lanes[lane] === null
              ? marks.through
              : undefined,
    (lane) => (lane >= from && lane < last ? marks.through : " "),
  );
  return { graph, step: null, below: "" };
}

function laneText(
  lanes: (string | null)[],
  marks: GraphMarks,
  at: (lane: number) => string | undefined,
  after: (lane: number) => string = () => " ",
): string {
  return lanes
    .map((target, lane) => (at(lane) ?? (target === null ? " " : marks.line)) + after(lane))
    .join("")
    .trimEnd();
}

function itemRows(items: ShownStep[], below: string, marks: GraphMarks): GraphRow[] {
  const sorted = items.toSorted((a, b) => a.origin!.foreach!.index - b.origin!.foreach!.index);
  const indent = below === "" ? "  " : `${below} `;
  return sorted.map((step, index) => ({
    graph: indent + (index === sorted.length - 1 ? marks.lastItem : marks.item) + glyph(step, marks),
    step,
  }));
}
