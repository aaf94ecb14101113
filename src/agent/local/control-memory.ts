import { isoTime } from "../../core/iso-time.ts";
import * as v from "valibot";
import { HoldfastError } from "../../core/errors.ts";
import type { Json } from "../../model/json.ts";
import { DEFAULT_NAMESPACE, namespaceProblem } from "../../model/namespace.ts";
import type { ControlPorts } from "./control-ports.ts";
import { type ControlRequest, type ControlRoutes, PAGE_QUERY } from "./control-request.ts";

const text = v.pipe(v.string(), v.maxLength(400));
const atSchema = v.strictObject({ namespace: v.optional(text, DEFAULT_NAMESPACE) });
const listSchema = v.strictObject({
  namespace: v.optional(text),
  prefix: v.optional(text, ""),
  /** `namespace key` of the last one of the page before. */
  after: v.optional(v.pipe(v.string(), v.maxLength(800)), ""),
  limit: PAGE_QUERY.limit,
});
const setSchema = v.strictObject({
  value: v.any(),
  ttlMs: v.optional(v.nullable(v.pipe(v.number(), v.minValue(1))), null),
});

/** The memory that plugins share, for people. Nothing that is checked out makes them wait. */
export function memoryRoutes({ memory, log }: ControlPorts): ControlRoutes {
  const placeOf = (request: ControlRequest) => {
    const { namespace } = request.query(atSchema);
    const problem = namespaceProblem(namespace);
    if (problem !== null) throw new HoldfastError("invalid", problem);
    return { namespace, key: request.part("key") };
  };
  const absent = ({ namespace, key }: { namespace: string; key: string }) =>
    new HoldfastError(
      "not_found",
      `there is no ${key} in the memory of namespace ${namespace}: see holdfast memory list`,
    );
  return {
    "/v1/memory": {
      async GET(request) {
        const { namespace, prefix, after, limit } = request.query(listSchema);
        const [afterNamespace = "", afterKey = ""] = after.split(" ");
        const rows = await memory.list(
          { namespace: namespace ?? null, prefix, after: [afterNamespace, afterKey] },
          limit + 1,
        );
        const items = rows.slice(0, limit);
        const last = items.at(-1);
        return {
          items: items.map(({ changedMs, expiresMs, ...row }) => ({
            ...row,
            ...times({ changedMs, expiresMs }),
          })),
          next: rows.length > limit && last ? `${last.namespace} ${last.key}` : null,
        };
      },
    },
    "/v1/memory/:key": {
      async GET(request) {
        const at = placeOf(request);
        const entry = await memory.get(at.namespace, at.key);
        if (entry === null) throw absent(at);
        const { value, version } = entry;
        return { ...at, value, version, ...times(entry) };
      },
      async PUT(request) {
        const { by } = request.caller();
        const { namespace, key } = placeOf(request);
        const { value, ttlMs } = await request.body(setSchema);
        await memory.set(namespace, key, value as Json, ttlMs);
        log.info("memory set", { namespace, key, by });
        return { namespace, key };
      },
      async DELETE(request) {
        const { by } = request.caller();
        const at = placeOf(request);
        if (!(await memory.delete(at.namespace, at.key))) throw absent(at);
        log.info("memory removed", { ...at, by });
        return at;
      },
    },
  };
}

function times({ changedMs, expiresMs }: { changedMs: number; expiresMs: number | null }) {
  return {
    changedAt: isoTime(changedMs),
    expiresAt: expiresMs === null ? null : isoTime(expiresMs),
  };
}
