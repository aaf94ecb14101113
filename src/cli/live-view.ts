import { TaskGroup } from "../core/task-group.ts";
import type { EventItem, RunItem } from "../hub/api/views.ts";
import type { HubClient } from "./client/client.ts";
import type { StreamState } from "./client/follow.ts";
import { eventLine, runLine } from "./live-lines.ts";

export interface LiveViewOptions {
  client: Pick<HubClient, "followEvents" | "followRuns">;
  out: {
    line(text: string): Promise<void> | void;
    readonly width?: number | undefined;
    readonly color?: boolean;
  };
  signal: AbortSignal;
  /** One JSON object a line: `{"kind":"event"|"run", …}`. */
  json?: boolean;
  /** Start after these numbers instead of now, so that nothing between a hub's start and the view is missed. */
  after?: { event?: number; run?: number };
  /** Hears when the connection is lost and found again; for stderr or a log. */
  onState?: (state: StreamState) => void;
}

/** Runs whose last shown state is remembered. */
const REMEMBERED = 1000;

/**
 * Prints a line for each new event and for each change of a run's state, as they arrive, until the signal aborts.
 * Survives a hub that is away; rejects only on what no retry mends (a wrong token).
 */
export async function runLiveView(options: LiveViewOptions): Promise<void> {
  const group = new TaskGroup(options.signal);
  group.start((signal) => showEvents(options, signal));
  group.start((signal) => showRuns(options, signal));
  await group.join();
}

async function showEvents(options: LiveViewOptions, signal: AbortSignal): Promise<void> {
  const { client, out, json, after, onState } = options;
  const stream = client.followEvents({ signal, after: after?.event, persist: true, onState });
  for await (const item of stream) await out.line(json ? tagged("event", item) : eventLine(item, out));
}

async function showRuns(options: LiveViewOptions, signal: AbortSignal): Promise<void> {
  const { client, out, json, after } = options;
  const changed = stateFilter();
  for await (const item of client.followRuns({ signal, after: after?.run, persist: true })) {
    if (!changed(item)) continue;
    await out.line(json ? tagged("run", item) : runLine(item, runTime(item), out));
  }
}

/** When the state that is shown began. */
function runTime(item: RunItem): string {
  return item.endedAt ?? item.startedAt ?? item.createdAt;
}

function tagged(kind: "event" | "run", item: EventItem | RunItem): string {
  return JSON.stringify({ kind, ...item });
}

/** A run's row changes with each of its steps: true only when its state or reason is new. */
function stateFilter(): (item: RunItem) => boolean {
  const last = new Map<string, string>();
  return (item) => {
    const key = `${item.agent}/${item.id}`;
    const state = `${item.state}/${item.reason ?? ""}`;
    const isNew = last.get(key) !== state;
    last.delete(key);
    last.set(key, state);
    if (last.size > REMEMBERED) last.delete(last.keys().next().value as string);
    return isNew;
  };
}
