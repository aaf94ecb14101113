import { isoTime } from "../../core/iso-time.ts";
import * as v from "valibot";
import { HoldfastError } from "../../core/errors.ts";
import { namespaceProblem } from "../../model/namespace.ts";
import { secretLabel } from "../../model/secret.ts";
import type { ControlPorts } from "./control-ports.ts";
import type { ControlRequest, ControlRoutes } from "./control-request.ts";

const atSchema = v.strictObject({ namespace: v.optional(v.pipe(v.string(), v.maxLength(400))) });
const setSchema = v.strictObject({ value: v.string() });

/** Secrets, for people: they come in and never go out. */
export function secretRoutes({ secrets, log }: ControlPorts): ControlRoutes {
  const placeOf = (request: ControlRequest) => {
    const { namespace = null } = request.query(atSchema);
    const problem = namespace === null ? null : namespaceProblem(namespace);
    if (problem !== null) throw new HoldfastError("invalid", problem);
    return { namespace, name: request.part("name") };
  };
  return {
    "/v1/secrets": {
      GET: () => ({
        items: secrets.list().map(({ changedMs, ...each }) => ({
          ...each,
          changedAt: isoTime(changedMs),
        })),
        problem: secrets.problem(),
      }),
    },
    "/v1/secrets/:name": {
      async PUT(request) {
        const { by } = request.caller();
        const at = placeOf(request);
        const { value } = await request.body(setSchema);
        await secrets.set({ ...at, value, changedBy: by });
        log.info("secret set", { ...at, by });
        return at;
      },
      async DELETE(request) {
        const { by } = request.caller();
        const at = placeOf(request);
        if (!(await secrets.remove(at.namespace, at.name)))
          throw new HoldfastError(
            "not_found",
            `there is no secret ${secretLabel(at)}: see holdfast secret list`,
          );
        log.info("secret removed", { ...at, by });
        return at;
      },
    },
    "/v1/rotate-secrets": {
      async POST(request) {
        const { by } = request.caller();
        const sealed = await secrets.rotate();
        log.info("secrets sealed anew", { sealed, by });
        return { sealed };
      },
    },
  };
}
