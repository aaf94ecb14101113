import * as v from "valibot";
import { HoldfastError } from "../../core/errors.ts";
import { nearest } from "../../core/nearest.ts";
import type { JsonObject } from "../../model/json.ts";
import { hasEnded, RUN_STATES } from "../../model/run.ts";
import type { ControlPorts, FoundRun } from "./control-ports.ts";
import { type ControlRequest, type ControlRoutes, page, PAGE_QUERY } from "./control-request.ts";
import { type ControlStreams, type NextFrames, sseFrame } from "./control-stream.ts";
import {
  pipelineView,
  type RunDetailView,
  runDetailView,
  runItemView,
  stepRevision,
} from "./control-views.ts";

const text = (max: number) => v.pipe(v.string(), v.maxLength(max));
export const paramsSchema = v.custom<JsonObject>(
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  "params must be an object",
);
const startSchema = v.strictObject({ pipeline: text(256), params: v.optional(paramsSchema, {}) });
const cancelSchema = v.strictObject({ reason: v.optional(text(1000), "") });
const decisionSchema = v.strictObject({
  decision: v.picklist(["approve", "deny"]),
  note: v.optional(text(1000), ""),
});
/** Runs whose ids are looked at for one that was probably meant. */
const NEAR_RUNS = 500;
const LEAST_NEAR = 8;
const listSchema = v.strictObject({
  ...PAGE_QUERY,
  pipeline: v.optional(text(256)),
  state: v.optional(v.picklist(RUN_STATES)),
  open: v.optional(
    v.pipe(
      v.picklist(["true", "false"]),
      v.transform((word) => word === "true"),
    ),
  ),
});

/** Pipelines and runs: what there is, starting, watching, ending, and a person's word. */
export function runRoutes(ports: ControlPorts, streams: ControlStreams): ControlRoutes {
  const { store, log, agent } = ports;
  const find = (request: ControlRequest) => findRun(ports, request);
  const detail = async (found: FoundRun) =>
    withHeldBack(
      runDetailView(agent, found, await store.childRuns(found.run.id), times(ports)),
      ports.heldBack(found.run.id),
    );

  return {
    "/v1/pipelines": {
      GET: () => ({
        items: ports.pipelines().map((each) => {
          const found = ports.parameters.list(each.namespace, true).map(({ name }) => name);
          return pipelineView(each, new Set(found));
        }),
      }),
    },
    "/v1/runs": {
      async GET(request) {
        const { limit, ...filter } = request.query(listSchema);
        const rows = await store.runs({ ...filter, limit: limit + 1 });
        const live = new Map(ports.live().map((run) => [run.id, run]));
        const views = rows.map((row) => {
          const { steps = [], overdue = false, heldBack = null } = live.get(row.run.id) ?? {};
          const view = runItemView(agent, row);
          return { ...view, reason: view.reason ?? heldBack, current: steps, overdue };
        });
        return page(views, limit);
      },
      async POST(request) {
        const { by } = request.caller();
        const asked = await request.body(startSchema);
        checkPipeline(ports, asked.pipeline);
        const run = await ports.engine().start({ ...asked, by });
        log.info("run asked for", { run, pipeline: asked.pipeline, by });
        return { run };
      },
    },
    "/v1/runs/:run": { GET: async (request) => await detail(await find(request)) },
    "/v1/runs/:run/stream": {
      async GET(request) {
        const found = await find(request);
        return streams.respond(request.raw, changesOf(found.run.id, ports, detail));
      },
    },
    "/v1/runs/:run/cancel": {
      async POST(request) {
        const { by } = request.caller();
        const { reason } = await request.body(cancelSchema);
        const { run } = await find(request);
        if (hasEnded(run.state)) {
          throw new HoldfastError("conflict", `run ${run.id} has already ended: it is ${run.state}`);
        }
        await ports.engine().cancel(run.id, by, reason || `cancelled by ${by}`);
        log.info("run cancelled", { run: run.id, reason, by });
        return { run: run.id };
      },
    },
    "/v1/runs/:run/retry": {
      async POST(request) {
        const { by } = request.caller();
        const { run } = await find(request);
        if (!hasEnded(run.state)) {
          throw new HoldfastError(
            "conflict",
            `run ${run.id} has not ended: it is ${run.state}; cancel it first`,
          );
        }
        const made = await ports.engine().retry(run.id, by);
        log.info("run asked for again", { run: made, retryOf: run.id, by });
        return { run: made, retryOf: run.id };
      },
    },
    "/v1/runs/:run/steps/:step/decision": {
      async POST(request) {
        const { by, uid } = request.caller();
        const { decision, note } = await request.body(decisionSchema);
        const { run, steps } = await find(request);
        const step = request.part("step");
        if (!steps.some((row) => row.stepId === step)) throw noStep(run.id, step, steps);
        await ports.engine().decide(run.id, step, { approve: decision === "approve", by, uid, note });
        log.info("decision on a step", { run: run.id, step, decision, by });
        return { run: run.id, step, decision };
      },
    },
  };
}

/** The run that a request names, by its id or a part of it. */
export async function findRun({ store, agent }: ControlPorts, request: ControlRequest): Promise<FoundRun> {
  const id = request.part("run");
  const found = await store.run(id);
  if (found) return found;
  const ids = (await store.runs({ limit: NEAR_RUNS })).map(({ run }) => run.id);
  // Of a few characters anything could have been meant.
  const isNear = (each: string) => id.length >= LEAST_NEAR && nearest(id, [each.slice(-id.length)]);
  const near = nearest(id, ids) ?? ids.find(isNear);
  const hint = near === undefined ? "" : `did you mean ${near}? `;
  throw new HoldfastError(
    "not_found",
    `agent ${agent} has no run ${id}: ${hint}holdfast runs list shows what it has`,
  );
}

/** The rows say `queued`; why nothing of it begins is known in memory only. */
function withHeldBack(view: RunDetailView, held: ReturnType<ControlPorts["heldBack"]>): RunDetailView {
  if (held === null) return view;
  const steps = view.steps.map((step) =>
    step.state === "queued" && (held.whole || held.steps.includes(step.step))
      ? { ...step, reason: step.reason ?? held.reason }
      : step,
  );
  return { ...view, reason: view.reason ?? held.reason, steps };
}

/** A frame holds about so much at most: a run may have a thousand steps, each with a large output. */
const FRAME_CHARS = 1_000_000;

/** The run each time it has changed, with the steps that have, until it has ended. The first time it has all of them. */
function changesOf(
  id: string,
  ports: ControlPorts,
  detail: (found: FoundRun) => Promise<RunDetailView>,
): NextFrames {
  const shown = new Map<string, string>();
  let state: string | undefined;
  let ended = false;
  return async () => {
    if (ended) return null;
    const found = await ports.store.run(id);
    if (!found) return null;
    const changed = new Set<string>();
    for (const step of found.steps) {
      const revision = stepRevision(step);
      if (shown.get(step.stepId) !== revision) changed.add(step.stepId);
      shown.set(step.stepId, revision);
    }
    if (changed.size === 0 && found.run.state === state) return "";
    state = found.run.state;
    ended = hasEnded(found.run.state);
    const view = await detail(found);
    const groups = inGroups(view.steps.filter(({ step }) => changed.has(step)));
    // The state of a run that has ended ends the reader: it comes with the last of the steps.
    const last = groups.length - 1;
    return groups
      .map((steps, index) => ({
        ...view,
        steps,
        ...(index < last ? { state: "running", endedAt: null } : {}),
      }))
      .map((part) => sseFrame("run", found.number, part))
      .join("");
  };
}

function inGroups(steps: RunDetailView["steps"]): RunDetailView["steps"][] {
  const groups: RunDetailView["steps"][] = [[]];
  let chars = 0;
  for (const step of steps) {
    const size = JSON.stringify(step).length;
    if (chars > 0 && chars + size > FRAME_CHARS) {
      groups.push([]);
      chars = 0;
    }
    groups.at(-1)!.push(step);
    chars += size;
  }
  return groups;
}

function checkPipeline(ports: ControlPorts, name: string): void {
  const names = ports.pipelines().map((pipeline) => pipeline.name);
  if (names.includes(name)) return;
  const meant = nearest(name, names);
  const hint =
    meant !== undefined
      ? `did you mean ${meant}?`
      : names.length === 0
        ? "none is configured"
        : `there is ${names.slice(0, 10).join(", ")}`;
  throw new HoldfastError("not_found", `agent ${ports.agent} has no pipeline ${name}: ${hint}`);
}

export function noStep(run: string, step: string, steps: { stepId: string }[]): HoldfastError {
  const known = steps.map((row) => row.stepId);
  const meant = nearest(step, known);
  const hint =
    meant === undefined ? `its steps are ${known.slice(0, 20).join(", ")}` : `did you mean ${meant}?`;
  return new HoldfastError("not_found", `run ${run} has no step ${step}: ${hint}`);
}

function times({ clock }: ControlPorts) {
  return { wallMs: clock.wall(), trustedMs: clock.trusted() };
}
