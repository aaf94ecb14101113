import { hasEnded, type StepRow } from "../model/run.ts";
import type { RunRig } from "./run-rig.ts";

/** What happened in a run, kept by who made it happen. */
export interface Story {
  rig: RunRig;
  /** Steps in the order in which they first began. */
  begun: string[];
  /** Steps in the order in which they succeeded. */
  succeeded: string[];
  additions: { by: string; kind: "add" | "finally" | "onFailure"; id: string }[];
  stops: ("cancelled" | "timed_out" | "failed")[];
}

/**
 * A second opinion on a run, from sets and definitions alone: which steps may begin, which never will, in what order the
 * parts go, and how the run ends. Written apart from the planner, and as plainly as can be.
 */
export function judge(story: Story): void {
  judgeGraph(story);
  judgeItems(story);
  judgeParts(story);
  if (hasEnded(story.rig.live.run.state)) judgeEnd(story);
}

interface Node {
  row: StepRow;
  needs: string[];
  /** Steps that must have succeeded as well before what needs this one may go. */
  family: string[];
}

function graphOf({ rig, additions }: Story): Map<string, Node> {
  const graph = new Map<string, Node>();
  const rows = [...rig.live.steps.values()].filter((row) => row.part === "steps");
  for (const row of rows.filter(({ extra }) => !extra?.foreach)) {
    const declared = rig.live.definition.steps.find(({ id }) => id === row.stepId);
    graph.set(row.stepId, { row, needs: declared ? [...declared.needs] : [], family: [] });
  }
  const owner = (id: string) => (graph.has(id) ? id : id.replace(/\[\d+\]$/, ""));
  const last = new Map<string, string>();
  for (const { by, kind, id } of additions) {
    if (kind !== "add") continue;
    const node = graph.get(id)!;
    node.needs = [last.get(by) ?? by];
    last.set(by, id);
    graph.get(owner(by))!.family.push(id);
  }
  return graph;
}

function judgeGraph(story: Story): void {
  const graph = graphOf(story);
  const { live } = story.rig;
  const stateOf = (id: string) => (graph.get(id)?.row ?? live.steps.get(id)!).state;
  const left = (id: string) => graph.get(id)?.row.extra?.skip === "when";
  const met = new Set<string>();
  const never = new Set<string>();
  const own = (id: string): "met" | "never" | "open" =>
    left(id) || stateOf(id) === "succeeded" ? "met" : hasEnded(stateOf(id)) ? "never" : "open";
  for (let grown = true; grown;) {
    const size = met.size + never.size;
    for (const [id, { family, needs, row }] of graph) {
      const adder = row.extra?.addedBy?.step;
      const needsNever = needs.some((need) => (need === adder ? own(need) === "never" : never.has(need)));
      if (own(id) === "never" || needsNever) never.add(id);
      if (own(id) !== "met") continue;
      if (family.some((each) => never.has(each))) never.add(id);
      if (family.every((each) => met.has(each))) met.add(id);
    }
    grown = met.size + never.size > size;
  }
  const stopped = live.run.stop !== null;
  for (const [id, { needs, row }] of graph) {
    const adder = row.extra?.addedBy?.step;
    const ready = needs.every((need) => (need === adder ? own(need) === "met" : met.has(need)));
    const broken = needs.some((need) => (need === adder ? own(need) === "never" : never.has(need)));
    const waits = row.state === "waiting" && row.waits === "needs";
    check(!waits || (!ready && !broken), `${id} waits, but its needs are ${ready ? "met" : "broken"}`);
    check(row.state !== "queued" || row.attempts > 0 || ready, `${id} is queued before its needs are met`);
    check(row.extra?.skip !== "need" || broken, `${id} is skipped without a reason`);
    if (stopped)
      check(hasEnded(row.state) || row.state === "running", `${id} is ${row.state} after the stop`);
  }
}

/** No more items at once than the cap; once one has ended badly none begins any more. */
function judgeItems({ rig }: Story): void {
  const rows = [...rig.live.steps.values()];
  for (const { id, foreach } of rig.live.definition.steps) {
    const items = rows.filter((row) => row.part === "steps" && row.extra?.foreach?.step === id);
    const underWay = items.filter(({ state, waits }) => !hasEnded(state) && waits !== "needs");
    const begins = items.filter(({ state, attempts }) => !hasEnded(state) && attempts === 0);
    const bad = items.some(({ state }) => hasEnded(state) && !["succeeded", "skipped"].includes(state));
    check(underWay.length <= (foreach?.concurrency ?? 0), `${underWay.length} items of ${id} at once`);
    check(!bad || begins.length === 0, `an item of ${id} ended badly, and another is still to begin`);
    const open = items.some(({ state }) => !hasEnded(state));
    const own = rig.live.steps.get(id)!.state;
    check(
      items.length === 0 || (own === "running") === open,
      `${id} is ${own} with items ${open ? "open" : "ended"}`,
    );
  }
}

const ORDER = ["steps", "undo", "finally", "on_failure"];

function judgeParts({ rig }: Story): void {
  const rows = [...rig.live.steps.values()];
  const underWay = rows.filter(({ state, waits }) => !hasEnded(state) && waits !== "needs");
  const parts = new Set(underWay.map(({ part }) => part));
  check(parts.size <= 1, `two parts are under way: ${[...parts].join(", ")}`);
  const [current] = parts;
  if (current === undefined) return;
  for (const row of rows) {
    const earlier = ORDER.indexOf(row.part) < ORDER.indexOf(current);
    check(!earlier || hasEnded(row.state), `${row.stepId} of ${row.part} is open while ${current} runs`);
  }
  if (current !== "steps") check(underWay.length === 1, `${underWay.length} steps of ${current} at once`);
}

function judgeEnd(story: Story): void {
  const { rig, stops } = story;
  const { run, steps } = rig.live;
  const rows = [...steps.values()];
  for (const row of rows) check(hasEnded(row.state), `${row.stepId} is ${row.state} at the end`);
  const bad = (part: string) =>
    rows.some(
      (row) => row.part === part && !row.extra?.foreach && !["succeeded", "skipped"].includes(row.state),
    );
  const stop = stops.includes("cancelled") ? "cancelled" : stops[0];
  const state = stop ?? (bad("steps") || bad("finally") ? "failed" : "succeeded");
  check(run.state === state, `the run is ${run.state}, not ${state}`);
  if (run.startedMs !== null) judgeOrders(story, bad("steps") || stops.some((each) => each !== "cancelled"));
  else check(story.begun.length === 0, "something of a run ran that never began");
}

/** In what order the steps of the end ran. A cancel on the way cuts undo and on_failure short, or leaves them out. */
function judgeOrders({ rig, begun, succeeded, additions, stops }: Story, failed: boolean): void {
  const { definition, steps } = rig.live;
  const ran = (part: string) => begun.filter((id) => steps.get(id)?.part === part);
  const addedTo = (kind: string) => additions.filter((each) => each.kind === kind).map(({ id }) => id);
  const inOrder = (part: string) =>
    addedTo(part === "finally" ? "finally" : "onFailure").sort(
      (a, b) => steps.get(a)!.position - steps.get(b)!.position,
    );
  const undoable = succeeded.filter((id) => {
    const declared = definition.steps.find((each) => each.id === id.replace(/\[\d+\]$/, ""));
    return declared?.undo && (declared.foreach === null || id.endsWith("]"));
  });
  const wanted = {
    undo: failed ? undoable.toReversed().map((id) => `${id}~undo`) : [],
    finally: [...definition.finally.map(({ id }) => id), ...inOrder("finally")].toReversed(),
    on_failure: failed ? [...definition.onFailure.map(({ id }) => id), ...inOrder("on_failure")] : [],
  };
  same(ran("finally"), wanted.finally, "finally");
  for (const part of ["undo", "on_failure"] as const) {
    const did = ran(part);
    same(did, stops.includes("cancelled") ? wanted[part].slice(0, did.length) : wanted[part], part);
  }
}

function same(did: string[], wanted: string[], part: string): void {
  check(
    did.join() === wanted.join(),
    `${part} ran ${did.join() || "nothing"}, not ${wanted.join() || "nothing"}`,
  );
}

function check(holds: boolean, message: string): void {
  if (!holds) throw new Error(message);
}
