import { HoldfastError } from "../core/errors.ts";
import type { RunItem } from "../hub/api/views.ts";
import { RUN_STATES } from "../model/run.ts";
import { runLine } from "./live-lines.ts";
import { printList } from "./pages.ts";
import { shownItem, starterText } from "./runs-detail.ts";
import { age, localTime, took } from "./show-time.ts";
import { type SourceContext, sourceCommand } from "./source-command.ts";
import { oneOf, wholeNumber } from "./strict-args.ts";
import { type Column, stateColor, table } from "./table.ts";

const WATCH_MS = 1000;

export const list = sourceCommand({
  name: "list",
  description: "List runs, newest first",
  example: "holdfast runs list --pipeline react --state failed",
  args: {
    pipeline: { type: "string", valueHint: "NAME", description: "Only runs of this pipeline" },
    state: { type: "string", valueHint: "STATE", description: "Only runs in this state, such as failed" },
    open: { type: "boolean", description: "Only runs that have not ended (of an agent of this host)" },
    limit: { type: "string", valueHint: "N", default: "50", description: "At most so many" },
    all: { type: "boolean", description: "All that there are" },
    watch: { type: "boolean", description: "Show them again as they change, until Ctrl-C" },
  },
  live: (args) => args.watch === true,
  async run(context, args) {
    const { agent, pipeline } = args;
    const state = oneOf("state", args.state, RUN_STATES);
    const limit = args.all ? undefined : wholeNumber("limit", args.limit, 1, 1_000_000);
    if (args.open && !context.local) {
      throw new HoldfastError(
        "usage",
        "--open works with an agent of this host; ask a hub with --state running",
      );
    }
    const open = args.open ? "true" : undefined;
    const filter = { ...(context.local ? {} : { agent }), pipeline, state, open };
    if (args.watch) return await watch(context, filter, limit ?? 50);
    await printList<RunItem>(context, {
      fetch: (query) => context.source.runs(query),
      filter,
      limit,
      none: "no run fits",
      render: (items, header) =>
        table(items, columns(context), { width: context.out.width, color: context.out.color, header }),
    });
  },
});

function columns(context: SourceContext): Column<RunItem>[] {
  const current: Column<RunItem> = { title: "STEP", value: currentSteps, shrinkTo: 8 };
  const nowMs = context.clock.wall();
  // On a terminal the end of an id is enough: `runs show` takes it. Programs get it whole.
  const shownId = (row: RunItem) => (context.out.width === undefined ? row.id : row.id.slice(-12));
  return [
    { title: "RUN", value: shownId },
    { title: "CREATED", value: (row) => localTime(row.createdAt) },
    { title: "AGE", value: (row) => age(row.createdAt, nowMs) },
    { title: "AGENT", value: (row) => row.agent },
    { title: "PIPELINE", value: (row) => row.pipeline },
    { title: "STARTED BY", value: (row) => starterText(shownItem(row)), shrinkTo: 10 },
    { title: "STATE", value: (row) => row.state, color: stateColor },
    // Only an agent knows what is under way at this moment.
    ...(context.local ? [current] : []),
    { title: "TOOK", value: (row) => took(row.startedAt, row.endedAt) },
    { title: "REASON", value: (row) => row.reason, shrinkTo: 10 },
  ];
}

function currentSteps(row: RunItem): string {
  const { current, overdue } = shownItem(row);
  return `${(current ?? []).join(",")}${overdue ? " (overdue)" : ""}`;
}

/** On a terminal the table again and again; elsewhere a line for each run that is new or has changed. */
async function watch(
  context: SourceContext,
  filter: Record<string, string | undefined>,
  limit: number,
): Promise<void> {
  const { out, signal, clock, json } = context;
  const told = new Map<string, string>();
  while (!signal.aborted) {
    const { items } = await context.source.runs({ ...filter, limit: Math.min(limit, 1000) });
    if (out.width !== undefined && !json) {
      const lines = table(items, columns(context), { width: out.width, color: out.color });
      await out.write(`\u001b[H\u001b[J${lines.join("\n")}\n`);
    } else {
      for (const item of items.toReversed()) {
        if (told.get(item.id) === item.state) continue;
        told.set(item.id, item.state);
        const now = new Date(clock.wall()).toISOString();
        await out.line(json ? JSON.stringify(item) : runLine(item, now, out));
      }
      // What has left the window needs no place any more.
      const shown = new Set(items.map((item) => item.id));
      for (const id of told.keys()) if (!shown.has(id)) told.delete(id);
    }
    await clock.sleep(WATCH_MS, signal).catch(() => {});
  }
}
