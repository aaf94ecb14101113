import { isoTime } from "../../core/iso-time.ts";
import type { ProjectionCounts } from "../../hub/store/projection-check.ts";
import { LANES, RECORD_CLASSES } from "../../model/record.ts";
import type { ChainReport, StreamReport, ToldLoss } from "../../protocol/chain-report.ts";
import { plainLine } from "../plain-text.ts";
import { localTime } from "../show-time.ts";
import { colored } from "../table.ts";

const LANE_NAMES = new Map<number, string>(Object.entries(LANES).map(([name, number]) => [number, name]));
const CLASS_NAMES = new Map<string, string>(
  Object.entries(RECORD_CLASSES).map(([name, number]) => [String(number), name]),
);

interface Look {
  color: boolean;
}

/** One stream: what it is and how it stands, then a line for each problem and each loss. */
export function streamLines(report: StreamReport, look: Look): string[] {
  const { agent, epoch, lane, segment, problems, losses, beside } = report;
  const state =
    problems.length === 0 ? colored("ok", "green", look.color) : colored("NOT WHOLE", "red", look.color);
  const name = `${agent}  ${epoch.slice(-12)}  ${LANE_NAMES.get(lane) ?? `lane ${lane}`}/${segment}`;
  const lines = [`${plainLine(name)}  ${rowsText(report)}  ${state}`];
  for (const { kind, number, message } of problems)
    lines.push(`  ${kind} from ${number}: ${plainLine(message)}`);
  for (const loss of losses) lines.push(`  ${lossText(loss)}`);
  if (beside > 0) lines.push(`  forked: ${beside} other rows are held beside it`);
  if (report.unfinished && problems.length === 0) {
    lines.push("  not complete: a later segment is here, rows of this one are still to come");
  }
  lines.push(...proofLines(report));
  return lines;
}

function rowsText({ first, last, rows, classes }: StreamReport): string {
  if (rows === 0) return last === 0 ? "empty" : `up to ${last}, all let go after the hub had them`;
  return `${first} to ${last}: ${classText(classes)}`;
}

function classText(classes: Record<string, number>): string {
  return Object.entries(classes)
    .map(([recordClass, count]) => `${count} ${CLASS_NAMES.get(recordClass) ?? `of class ${recordClass}`}`)
    .join(", ");
}

function lossText({ first, last, counts, reason, atMs, signature }: ToldLoss): string {
  const why = reason === "cap" ? "the outbox was full" : "they could not be read any more";
  const signed = {
    good: "signed",
    wrong: "NOT SIGNED by its agent",
    "at rest": "to be signed when it is sent",
  }[signature];
  const when = localTime(isoTime(atMs));
  return `lost ${first} to ${last}: ${classText(counts)}; ${why} (${plainLine(reason)}), ${when}; ${signed}`;
}

function proofLines({ acknowledged, proved, last }: StreamReport): string[] {
  if (!acknowledged || last === 0) return [];
  if (proved === null)
    return [`  the hub has said to hold it up to ${acknowledged}; there is no receipt that proves it`];
  const { hub, number, atMs } = proved;
  const said = acknowledged > number ? `; it has said ${acknowledged}` : "";
  return [
    `  hub ${plainLine(hub)} has signed to hold it up to ${number}, ${localTime(isoTime(atMs))}${said}`,
  ];
}

export function projectionLine({ agent, records, events, again, unreadable }: ProjectionCounts): string {
  const more = [
    again > 0 ? `${again} came again` : undefined,
    unreadable > 0 ? `${unreadable} cannot be shown` : undefined,
  ].filter((text) => text !== undefined);
  return plainLine(`${agent}  ${records} records of events, ${[`${events} in lists`, ...more].join(", ")}`);
}

export function closingLines({ ok, totals, problems }: ChainReport, what: string, look: Look): string[] {
  const { streams, rows, lost, beside } = totals;
  const told = [counted(streams, "stream"), counted(rows, "row")];
  if (lost > 0) told.push(`${counted(lost, "row")} told as lost`);
  if (beside > 0) told.push(`${counted(beside, "row")} held beside`);
  const state = ok ? colored("whole", "green", look.color) : colored("NOT WHOLE", "red", look.color);
  return [
    ...problems.map((text) => `wrong: ${plainLine(text)}`),
    `${plainLine(what)}: ${told.join(", ")}: ${state}`,
  ];
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}
