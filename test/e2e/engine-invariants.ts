/** What must hold of an agent's store and of what its scripts told, when every run has ended: each breach in words. */
import { wrongAttempts, wrongEffects } from "./engine-effects.ts";
import { type EngineHome, type Line, STARTING, type Told } from "./engine-home.ts";
import type { Event, Rows, Run, Step } from "./engine-rows.ts";

const NEEDS: Record<string, [before: string, after: string][]> = {
  graph: [
    ["a", "b"],
    ["a", "c"],
    ["b", "d"],
    ["c", "d"],
    ["first", "last"],
  ],
  list: [["each", "after"]],
  broken: [
    ["out", "put"],
    ["put", "bad"],
    ["put~undo", "out~undo"],
  ],
  locked: [["enter", "leave"]],
  late: [
    ["free", "held"],
    ["held", "still"],
  ],
  inner: [["x", "y"]],
};
const PARTS: Step["part"][] = ["steps", "undo", "finally", "on_failure"];
const UNDONE: Record<string, string[]> = { graph: ["b"], broken: ["out", "put"] };
/** What a run does while it holds its lock. */
const UNDER_LOCK: Record<string, string[]> = {
  locked: ["enter", "leave", "close"],
  late: ["held", "still"],
  asks: ["before", "then"],
};

/** `lost`: the store was damaged in between, so that events and ended runs may be missing. */
export function breaches(home: EngineHome, rows: Rows, lost = false): string[] {
  const told = home.told();
  return [
    ...(lost ? [] : [...wrongEvents(home.written, rows.events), ...wrongStarts(home.written, rows)]),
    ...(lost ? [] : wrongChildren(rows)),
    ...wrongAttempts(rows, told, lost),
    ...wrongEffects(rows, told),
    ...rows.runs.flatMap((run) => wrongRun(run, rows, told)),
    ...overlaps(rows.runs, told),
    ...wrongRecords(rows, lost),
    ...wrongEnds(rows, lost),
  ];
}

function wrongEvents(written: Line[], events: Event[]): string[] {
  const lines = events.filter((event) => event.type === "log.line").map((event) => event.data.line!);
  return differences(
    "event",
    written.map(({ text }) => text),
    lines,
  );
}

/** Each match started one run: plain conditions, a window, a cooldown, and a rule that listens to another. */
function wrongStarts(written: Line[], { runs, events }: Rows): string[] {
  const lineOf = new Map(events.map((event) => [event.id, event.data?.line]));
  const expected = written.filter(
    ({ kind }) => kind === "asks" || (STARTING as readonly string[]).includes(kind),
  );
  const wanted = expected.map(({ kind, text }) => `${kind}: ${text}`);
  for (const key of ["even", "odd"]) {
    const hits = written.filter((line) => line.kind === "hit" && line.key === key);
    if (hits.length > 0) wanted.push(`cool: ${hits[0]!.text}`);
    for (let n = 4; n < hits.length; n += 5) wanted.push(`bursts: ${hits[n]!.text}`);
  }
  for (const event of events)
    if (event.type === "app.burst") lineOf.set(event.id, lineOf.get(event.causationid!));
  const started = runs.filter((run) => run.starter === "rule");
  return differences(
    "run",
    wanted,
    started.map((run) => `${run.rule}: ${lineOf.get(run.event!)}`),
  );
}

/** Each run that came to its child has one, and no child is there without one. */
function wrongChildren({ runs, steps }: Rows): string[] {
  const begun = steps.filter(({ step, state }) => step === "child" && state !== "skipped");
  const children = runs.filter((run) => run.starter === "parent");
  return differences(
    "child of run",
    begun.map(({ run }) => run),
    children.map(({ parent }) => parent!),
  );
}

function wrongRun(run: Run, rows: Rows, told: Told[]): string[] {
  const wrong: string[] = [];
  const name = `run ${run.id} of ${run.pipeline}`;
  const steps = rows.steps.filter((step) => step.run === run.id);
  const bad = steps.filter(
    (step) => (step.part === "steps" || step.part === "finally") && step.state !== "succeeded",
  );
  if (run.state === "succeeded" && bad.length > 0)
    wrong.push(`${name} succeeded with ${bad[0]!.step} ${bad[0]!.state}`);
  if (run.state === "failed" && (bad.length === 0 || run.reason === null))
    wrong.push(`${name} failed without a step that did (${run.reason})`);
  if (run.state !== "succeeded" && run.state !== "failed") wrong.push(`${name} is ${run.state}`);
  const badStep = bad.some((step) => step.part === "steps");
  for (const id of UNDONE[run.pipeline] ?? []) {
    const done = steps.find((step) => step.step === id)?.state === "succeeded";
    const undone = steps.find((step) => step.step === `${id}~undo`);
    if ((badStep && done) !== (undone !== undefined))
      wrong.push(`${name}: ${id} is ${done ? "" : "not "}done, undo: ${undone?.state}`);
  }
  const tells = steps.some((step) => step.part === "on_failure");
  const declared = ["graph", "broken", "outer"].includes(run.pipeline);
  if (declared && tells !== badStep) wrong.push(`${name} is ${run.state}, on_failure ran: ${tells}`);
  return [...wrong, ...wrongOrder(run, steps, told)];
}

/** The parts of a run one after the other, and in each what is needed before what needs it. */
function wrongOrder(run: Run, steps: Step[], told: Told[]): string[] {
  const wrong: string[] = [];
  const partOf = new Map(steps.map((step) => [step.step, PARTS.indexOf(step.part)]));
  const own = told.filter((line) => line.run === run.id);
  let reached = 0;
  for (const { step } of own) {
    const part = partOf.get(step);
    if (part === undefined) {
      wrong.push(`run ${run.id} did ${step}, of which the store knows nothing`);
      continue;
    }
    if (part < reached) wrong.push(`run ${run.id}: ${step} (${PARTS[part]}) after ${PARTS[reached]} began`);
    reached = Math.max(reached, part);
  }
  const base = (step: string) => step.replace(/\[\d\]$/, "");
  for (const [before, after] of NEEDS[run.pipeline] ?? []) {
    const last = own.findLastIndex((line) => base(line.step) === before);
    const first = own.findIndex((line) => base(line.step) === after);
    if (first >= 0 && last > first) wrong.push(`run ${run.id}: ${after} before ${before} had ended`);
  }
  return wrong;
}

/** Once another run has the lock, the one before it does nothing under it any more. */
function overlaps(runs: Run[], told: Told[]): string[] {
  const wrong: string[] = [];
  const pipelineOf = new Map(runs.map((run) => [run.id, run.pipeline]));
  for (const [pipeline, ids] of Object.entries(UNDER_LOCK)) {
    const under = told.filter(({ run, step }) => pipelineOf.get(run) === pipeline && ids.includes(step));
    const gone = new Set<string>();
    let holder: string | undefined;
    for (const { run, step } of under) {
      if (run === holder) continue;
      if (gone.has(run)) wrong.push(`run ${run} did ${step} under the lock that run ${holder} had got`);
      if (holder !== undefined) gone.add(holder);
      holder = run;
    }
  }
  return wrong;
}

/** The rows for the hub: gapless, chained, and the last word of each run and step is how it ended. */
function wrongRecords(rows: Rows, lost: boolean): string[] {
  const wrong = [...rows.brokenLinks];
  const last = new Map<string, string>();
  for (const body of rows.results)
    last.set("step" in body ? `${body.run}/${body.step}` : (body.id as string), body.state as string);
  for (const run of rows.runs)
    if (last.get(run.id) !== run.state)
      wrong.push(`run ${run.id} is ${run.state}, its last record says ${last.get(run.id)}`);
  for (const { run, step, state } of rows.steps) {
    const said = last.get(`${run}/${step}`);
    if (said !== state && !(state === "skipped" && said === undefined))
      wrong.push(`step ${run}/${step} is ${state}, its last record says ${said}`);
  }
  const ids = new Set(rows.runs.map((run) => run.id));
  for (const name of last.keys())
    if (!lost && !ids.has(name.split("/")[0]!))
      wrong.push(`the records tell of run ${name}, which is not there`);
  return wrong;
}

function wrongEnds({ runs, steps, letters, places, epochs }: Rows, lost: boolean): string[] {
  const wrong: string[] = [];
  const open = runs.filter((run) => run.open === 1);
  for (const run of open) wrong.push(`run ${run.id} of ${run.pipeline} is still ${run.state}`);
  for (const step of steps)
    if (["queued", "waiting", "running"].includes(step.state))
      wrong.push(`step ${step.run}/${step.step} is still ${step.state}`);
  const bad = runs.filter((run) => run.state === "failed" && run.starter !== "parent").map((run) => run.id);
  wrong.push(...differences("dead letter", bad, letters).filter((text) => !lost || text.includes("missing")));
  if (places > 0) wrong.push(`${places} places at locks are left`);
  if (epochs > 1 && !lost) wrong.push("the store was begun anew");
  return wrong;
}

function differences(what: string, wanted: string[], found: string[]): string[] {
  const left = new Map<string, number>();
  for (const name of wanted) left.set(name, (left.get(name) ?? 0) + 1);
  for (const name of found) left.set(name, (left.get(name) ?? 0) - 1);
  return [...left].flatMap(([name, times]) =>
    times === 0 ? [] : [`${what} "${name}": ${times > 0 ? `${times} missing` : `${-times} too many`}`],
  );
}
