import * as v from "valibot";
import { isDuration, parseDuration } from "../../core/duration.ts";
import { HoldfastError } from "../../core/errors.ts";
import { SEVERITIES } from "../../model/event.ts";
import { FINDING_STATES, type FindingChange, MAX_NOTE } from "../../model/finding.ts";
import type { FindingRow } from "../../model/rule.ts";
import type { ControlPorts } from "./control-ports.ts";
import { type ControlRoutes, PAGE_QUERY } from "./control-request.ts";
import { findingView } from "./control-views.ts";

/** Their data may be large. */
const MAX_PAGE = 1000;
const listSchema = v.strictObject({
  limit: PAGE_QUERY.limit,
  before: v.optional(v.pipe(v.string(), v.maxLength(256))),
  state: v.optional(v.picklist([...FINDING_STATES, "unresolved"])),
  severity: v.optional(v.picklist(SEVERITIES)),
  rule: v.optional(v.pipe(v.string(), v.maxLength(200))),
  since: v.optional(v.pipe(v.string(), v.check(isDuration, "a duration, like 30m or 24h"))),
  order: v.optional(v.picklist(["severity"])),
});
const text = v.pipe(v.string(), v.maxLength(MAX_NOTE));
const noteSchema = v.strictObject({ text: v.pipe(text, v.trim(), v.minLength(1)) });
const resolveSchema = v.strictObject({
  falsePositive: v.optional(v.boolean(), false),
  reason: v.optional(text, ""),
});

/** Findings of this agent: to be looked at, acknowledged, noted and resolved. */
export function findingRoutes(ports: ControlPorts): ControlRoutes {
  const { store, agent, clock, log } = ports;
  const change = async (id: string, wanted: FindingChange) => {
    const row = await ports.changeFinding(id, wanted);
    log.info("a finding was changed", { finding: row.id, change: wanted.kind, by: wanted.by });
    return findingView(agent, row);
  };
  return {
    "/v1/findings": {
      async GET(request) {
        const { limit, since, ...filter } = request.query(listSchema);
        const most = Math.min(limit, MAX_PAGE);
        const sinceMs = since === undefined ? undefined : clock.wall() - parseDuration(since);
        const rows = await store.findings({ ...filter, sinceMs }, most + 1);
        const items = rows.slice(0, most);
        const next = rows.length > most && filter.order === undefined ? items.at(-1)!.id : null;
        return { items: items.map((row) => findingView(agent, row)), next };
      },
    },
    "/v1/findings/:id": {
      async GET(request) {
        return findingView(agent, known(request.part("id"), await store.finding(request.part("id"))));
      },
    },
    "/v1/findings/:id/acknowledge": {
      async POST(request) {
        const { by } = request.caller();
        await request.body(v.strictObject({}));
        return change(request.part("id"), { kind: "acknowledge", by });
      },
    },
    "/v1/findings/:id/note": {
      async POST(request) {
        const { by } = request.caller();
        return change(request.part("id"), { kind: "note", by, ...(await request.body(noteSchema)) });
      },
    },
    "/v1/findings/:id/resolve": {
      async POST(request) {
        const { by } = request.caller();
        return change(request.part("id"), { kind: "resolve", by, ...(await request.body(resolveSchema)) });
      },
    },
  };
}

function known(id: string, row: FindingRow | null): FindingRow {
  if (row !== null) return row;
  throw new HoldfastError("not_found", `no finding ${id}: look at holdfast finding list --state all`);
}
