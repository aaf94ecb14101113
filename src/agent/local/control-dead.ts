import * as v from "valibot";
import { HoldfastError } from "../../core/errors.ts";
import type { DeadLetter } from "../../model/run.ts";
import type { ControlPorts } from "./control-ports.ts";
import { type ControlRequest, type ControlRoutes, page, PAGE_QUERY } from "./control-request.ts";
import { paramsSchema } from "./control-runs.ts";
import { deadItemView, deadView } from "./control-views.ts";

const listSchema = v.strictObject(PAGE_QUERY);
const editSchema = v.strictObject({ params: paramsSchema });

/** Dead letters: runs that ended badly, set aside until somebody edits, retries or drops them. */
export function deadRoutes({ agent, store, engine, log }: ControlPorts): ControlRoutes {
  const find = async (request: ControlRequest): Promise<DeadLetter> => {
    const id = request.part("run");
    // A letter outlives its run: the whole id always works, a part of one only while the run is kept.
    const letter = await store.deadLetter(id);
    if (letter) return letter;
    const found = await store.run(id);
    const named = found && found.run.id !== id ? await store.deadLetter(found.run.id) : null;
    if (named) return named;
    const why = found
      ? `run ${found.run.id} is ${found.run.state} and is not set aside`
      : `there is no run ${id}`;
    throw new HoldfastError(
      "not_found",
      `no dead letter ${id} on agent ${agent}: ${why}; see holdfast dead list`,
    );
  };
  const gone = (id: string) =>
    new HoldfastError(
      "conflict",
      `the dead letter of run ${id} is gone: somebody else retried or dropped it`,
    );

  return {
    "/v1/dead": {
      async GET(request) {
        const { limit, before } = request.query(listSchema);
        const letters = await store.deadLetters(limit + 1, before);
        return page(
          letters.map((letter) => deadItemView(agent, letter)),
          limit,
        );
      },
    },
    "/v1/dead/:run": {
      GET: async (request) => deadView(agent, await find(request)),
      async PUT(request) {
        const { by } = request.caller();
        const { params } = await request.body(editSchema);
        const { runId } = await find(request);
        if (!(await store.editDeadLetter(runId, params))) throw gone(runId);
        log.info("dead letter edited", { run: runId, by });
        return deadView(agent, await find(request));
      },
      async DELETE(request) {
        const { by } = request.caller();
        const { runId } = await find(request);
        if (!(await store.dropDeadLetter(runId))) throw gone(runId);
        log.info("dead letter dropped", { run: runId, by });
        return { run: runId };
      },
    },
    "/v1/dead/:run/retry": {
      async POST(request) {
        const { by } = request.caller();
        const { runId } = await find(request);
        const run = await engine().retryDead(runId, by);
        log.info("dead letter retried", { run, retryOf: runId, by });
        return { run, retryOf: runId };
      },
    },
  };
}
