import * as v from "valibot";
import { eventSource, SEVERITIES } from "../../model/event.ts";
import { proposedEventSchema } from "../../model/event-schema.ts";
import type { ControlPorts } from "./control-ports.ts";
import { type ControlRoutes, page, PAGE_QUERY } from "./control-request.ts";
import { type ControlStreams, type NextFrames, sseFrame } from "./control-stream.ts";
import { eventView, ruleView } from "./control-views.ts";

/** Name of the trigger that events of people have. */
export const MANUAL_TRIGGER = "manual";

const FILTER = {
  type: v.optional(v.pipe(v.string(), v.maxLength(256))),
  source: v.optional(v.pipe(v.string(), v.maxLength(2048))),
  severity: v.optional(v.picklist(SEVERITIES)),
} as const;
const listSchema = v.strictObject({ ...PAGE_QUERY, ...FILTER });
const streamSchema = v.strictObject({
  ...FILTER,
  after: v.optional(v.pipe(v.string(), v.regex(/^\d{1,15}$/, "a whole number"), v.transform(Number))),
});
const emitSchema = v.strictObject(proposedEventSchema.entries);

type Filter = Pick<v.InferOutput<typeof listSchema>, "type" | "source" | "severity">;
type EventView = ReturnType<typeof eventView>;

/** Events may be large: a page holds fewer than were asked for, and the next one goes on. */
const MAX_PAGE = 200;
/** Events that one list looks at in search of a severity, which the store has no index for. */
const MAX_SCANNED = 20_000;
const STREAM_PAGE = 100;

/** Events and rules of this agent. */
export function eventRoutes(ports: ControlPorts, streams: ControlStreams): ControlRoutes {
  const { store, agent, log } = ports;
  return {
    "/v1/rules": { GET: () => ({ items: ports.rules().map(ruleView) }) },
    "/v1/events": {
      async GET(request) {
        const { limit: asked, before, ...filter } = request.query(listSchema);
        const limit = Math.min(asked, MAX_PAGE);
        return page(await newest(ports, filter, before, limit + 1), limit);
      },
      async POST(request) {
        const { by } = request.caller();
        const asked = await request.body(emitSchema);
        const id = asked.id ?? ports.ids.next();
        const source = eventSource(agent, MANUAL_TRIGGER);
        const duplicate = asked.id !== undefined && (await store.event(source, id)) !== null;
        if (!duplicate) await ports.emit({ ...asked, id });
        log.info("event of a person", { type: asked.type, id, duplicate, by });
        return { source, id, duplicate };
      },
    },
    "/v1/events/stream": {
      async GET(request) {
        const { after, ...filter } = request.query(streamSchema);
        const head = await store.lastEvent();
        const last = Number(request.header("last-event-id") ?? Number.NaN);
        const from = Number.isSafeInteger(last) ? last : (after ?? head);
        return streams.respond(request.raw, since(ports, filter, Math.min(from, head)));
      },
    },
  };
}

async function newest(
  { store, agent }: ControlPorts,
  { severity, ...filter }: Filter,
  before: number | undefined,
  limit: number,
): Promise<EventView[]> {
  const found: EventView[] = [];
  let from = before;
  for (let scanned = 0; found.length < limit && scanned < MAX_SCANNED;) {
    const rows = await store.events({
      ...filter,
      before: from,
      limit: severity === undefined ? limit : MAX_PAGE,
    });
    for (const row of rows) {
      const view = eventView(agent, row);
      if (severity === undefined || view.severity === severity) found.push(view);
    }
    const oldest = rows.at(-1);
    if (severity === undefined || !oldest) break;
    scanned += rows.length;
    from = oldest.n;
  }
  return found.slice(0, limit);
}

/** Frames of the events after `cursor` that fit, oldest first. */
function since({ store, agent }: ControlPorts, filter: Filter, cursor: number): NextFrames {
  let first = true;
  return async () => {
    const rows = await store.eventsAfter(cursor, STREAM_PAGE);
    const frames = rows
      .map((row) => eventView(agent, row))
      .filter((view) => fits(view, filter))
      .map((view) => sseFrame("event", view.n, view));
    cursor = rows.at(-1)?.n ?? cursor;
    // An id without data moves the reader's place, so that a new try after a break misses nothing.
    if (first || (frames.length === 0 && rows.length > 0)) frames.push(`id: ${cursor}\n\n`);
    first = false;
    return frames.join("");
  };
}

function fits(view: EventView, { type, source, severity }: Filter): boolean {
  return (
    (type === undefined || view.type === type) &&
    (source === undefined || view.source === source) &&
    (severity === undefined || view.severity === severity)
  );
}
