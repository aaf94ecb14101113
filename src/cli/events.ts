import { type ArgsDef, type CommandDef, defineCommand } from "citty";
import { SEVERITIES } from "../model/event.ts";
import type { EventItem } from "../hub/api/views.ts";
import type { StreamState } from "./client/follow.ts";
import { eventSummary } from "./event-summary.ts";
import { emit } from "./events-emit.ts";
import { eventLine } from "./live-lines.ts";
import { printList } from "./pages.ts";
import { age, localTime } from "./show-time.ts";
import { type SourceContext, sourceCommand } from "./source-command.ts";
import { oneOf, wholeNumber } from "./strict-args.ts";
import { stateColor, table } from "./table.ts";

const FILTERS = {
  type: { type: "string", valueHint: "TYPE", description: "Only events of this type, such as log.line" },
  source: { type: "string", valueHint: "URN", description: "Only events of this source" },
  severity: {
    type: "string",
    valueHint: "NAME",
    description: "Only events of this severity, such as warning",
  },
} as const satisfies ArgsDef;

const list = sourceCommand({
  name: "list",
  description: "List events, newest first",
  example: "holdfast events list --agent web-01 --type probe.down --limit 20",
  args: {
    ...FILTERS,
    limit: { type: "string", valueHint: "N", default: "50", description: "At most so many" },
    all: { type: "boolean", description: "All that there are" },
  },
  async run(context, args) {
    const { agent, type, source } = args;
    const severity = oneOf("severity", args.severity, SEVERITIES);
    const limit = args.all ? undefined : wholeNumber("limit", args.limit, 1, 1_000_000);
    const nowMs = context.clock.wall();
    await printList<EventItem>(context, {
      fetch: (query) => context.source.events(query),
      filter: filterOf(context, { agent, type, source, severity }),
      limit,
      none: "no event fits",
      render: (items, header) =>
        table(
          items,
          [
            { title: "TIME", value: (row) => localTime(row.time) },
            { title: "AGE", value: (row) => age(row.time, nowMs) },
            { title: "AGENT", value: (row) => row.agent },
            { title: "TYPE", value: (row) => row.type },
            { title: "SEVERITY", value: (row) => row.severity, color: stateColor },
            { title: "SUMMARY", value: eventSummary, shrinkTo: 20 },
          ],
          { width: context.out.width, color: context.out.color, header },
        ),
    });
  },
});

const tail = sourceCommand({
  name: "tail",
  description:
    "Print events as they arrive, until Ctrl-C; survives restarts of the other side and misses none",
  example: "holdfast events tail --type log.line",
  args: FILTERS,
  live: true,
  async run(context, args) {
    const { agent, type, source } = args;
    const severity = oneOf("severity", args.severity, SEVERITIES);
    const stream = context.source.followEvents({
      signal: context.signal,
      filter: filterOf(context, { agent, type, source, severity }),
      onState: (state) => tell(state, context.note),
    });
    for await (const item of stream) {
      await context.out.line(context.json ? JSON.stringify(item) : eventLine(item, context.out));
    }
  },
});

/** An agent has its own events only. */
function filterOf(context: SourceContext, filter: Record<string, string | undefined>) {
  return context.local ? { ...filter, agent: undefined } : filter;
}

function tell(state: StreamState, note: (text: string) => void): void {
  if (state.kind === "lost") note(`the live stream broke (${state.reason}); trying again`);
  if (state.kind === "connected" && state.again) note("connected again");
  if (state.kind === "reset")
    note("the hub's store is another one now: holdfast events list shows what it holds");
}

export const events: CommandDef<any> = defineCommand({
  meta: {
    name: "events",
    description: "Events of the agent on this host, or that the hub holds\n\nExample: holdfast events tail",
  },
  subCommands: { list, tail, emit },
});
