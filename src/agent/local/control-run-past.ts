import * as v from "valibot";
import type { ControlPorts } from "./control-ports.ts";
import type { ControlRoutes } from "./control-request.ts";
import { findRun, noStep } from "./control-runs.ts";
import { runDetailView } from "./control-views.ts";
import { explainRun } from "./explain-run.ts";

const explainSchema = v.strictObject({ step: v.optional(v.pipe(v.string(), v.maxLength(256))) });
/** A name that is that of a log as well; a damaged row may hold anything. */
const PLUGIN = /^\w[\w.-]*$/;

/** Looking back at a run: what its attempts said, and why it ran. */
export function runPastRoutes(ports: ControlPorts): ControlRoutes {
  return {
    "/v1/runs/:run/lines": {
      async GET(request) {
        const found = await findRun(ports, request);
        const { id, createdMs } = found.run;
        const { steps } = runDetailView(ports.agent, found, [], { wallMs: createdMs, trustedMs: createdMs });
        const tried = steps.filter(({ tries, action }) => tries.length > 0 && PLUGIN.test(action));
        const plugins = new Set(tried.map(({ action }) => action));
        const { lines, complete } = await ports.linesOf([...plugins], id, createdMs);
        return { items: lines, complete };
      },
    },
    "/v1/runs/:run/explain": {
      async GET(request) {
        const { step } = request.query(explainSchema);
        const found = await findRun(ports, request);
        if (step !== undefined && !found.steps.some((row) => row.stepId === step))
          throw noStep(found.run.id, step, found.steps);
        return await explainRun(ports, found, step);
      },
    },
  };
}
