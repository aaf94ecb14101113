import { isoTime } from "../../core/iso-time.ts";
import * as v from "valibot";
import { HoldfastError } from "../../core/errors.ts";
import type { Json } from "../../model/json.ts";
import { namespaceProblem } from "../../model/namespace.ts";
import type { ListedParameter } from "../../model/shared-parameter.ts";
import type { ControlPorts } from "./control-ports.ts";
import type { ControlRequest, ControlRoutes } from "./control-request.ts";

const text = v.pipe(v.string(), v.maxLength(400));
const atSchema = v.strictObject({ namespace: v.optional(text) });
const listSchema = v.strictObject({ namespace: v.optional(text), sources: v.optional(v.literal("true")) });
const setSchema = v.strictObject({ value: v.any(), secret: v.optional(v.boolean(), false) });

/** Parameters that pipelines share, for people. What is secret is never told. */
export function parameterRoutes({ parameters, log }: ControlPorts): ControlRoutes {
  const placeOf = (request: ControlRequest) => {
    const { namespace = null } = request.query(atSchema);
    checkNamespace(namespace);
    return { namespace, name: request.part("name") };
  };
  const absent = ({ namespace, name }: { namespace: string | null; name: string }, how: string) => {
    const where = namespace === null ? "for all namespaces" : `in namespace ${namespace}`;
    return new HoldfastError(
      "not_found",
      `there is no parameter ${name} ${how} ${where}: see holdfast param list`,
    );
  };
  return {
    "/v1/params": {
      GET(request) {
        const { namespace, sources } = request.query(listSchema);
        checkNamespace(namespace ?? null);
        return { items: parameters.list(namespace, sources === undefined).map(view) };
      },
    },
    "/v1/params/:name": {
      GET(request) {
        const at = placeOf(request);
        const all = parameters.list(at.namespace ?? undefined, true);
        const found = all.findLast(
          (each) => each.name === at.name && (at.namespace !== null || each.namespace === null),
        );
        if (!found) throw absent(at, "known");
        return view(found);
      },
      async PUT(request) {
        const { by } = request.caller();
        const at = placeOf(request);
        const { value, secret } = await request.body(setSchema);
        await parameters.set({ ...at, value: value as Json, secret, changedBy: by });
        log.info("parameter set", { ...at, by });
        return at;
      },
      async DELETE(request) {
        const { by } = request.caller();
        const at = placeOf(request);
        if (!(await parameters.remove(at.namespace, at.name))) throw absent(at, "set");
        log.info("parameter removed", { ...at, by });
        return at;
      },
    },
  };
}

function checkNamespace(namespace: string | null): void {
  const problem = namespace === null ? null : namespaceProblem(namespace);
  if (problem !== null) throw new HoldfastError("invalid", problem);
}

function view({ changedMs, ...each }: ListedParameter) {
  return { ...each, changedAt: changedMs === null ? null : isoTime(changedMs) };
}
