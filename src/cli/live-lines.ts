import type { EventItem, RunItem } from "../hub/api/views.ts";
import { eventSummary } from "./event-summary.ts";
import { fitted, padded, plainLine } from "./plain-text.ts";
import { localTime, took } from "./show-time.ts";
import { colored, stateColor } from "./table.ts";

export interface LineOptions {
  width?: number | undefined;
  color?: boolean;
}

/** One line for an event: time, agent, type, summary. */
export function eventLine(item: EventItem, options: LineOptions): string {
  const severity = item.severity ? stateColor(item.severity) : undefined;
  return liveLine(item.time, item.agent, item.type, eventSummary(item), severity, options);
}

/** One line for a run's change of state: time of the change, agent, `run PIPELINE`, state and why. */
export function runLine(item: RunItem, nowText: string, options: LineOptions): string {
  const length = item.endedAt === null ? "" : ` in ${took(item.startedAt, item.endedAt)}`;
  const why = item.reason ? `: ${item.reason}` : "";
  const state = plainLine(`${item.state}${length}${why}  ${item.id.slice(-12)}`);
  return liveLine(nowText, item.agent, `run ${item.pipeline}`, state, stateColor(item.state), options);
}

function liveLine(
  time: string,
  agent: string,
  what: string,
  rest: string,
  color: ReturnType<typeof stateColor>,
  options: LineOptions,
): string {
  const head = `${localTime(time)}  ${padded(plainLine(agent), 10)}  ${padded(plainLine(what), 16)}  `;
  const room = options.width === undefined ? undefined : Math.max(20, options.width - Bun.stringWidth(head));
  const text = room === undefined ? rest : fitted(rest, room);
  return head + colored(text, color, options.color);
}
