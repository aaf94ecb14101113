import { isoTime } from "../../core/iso-time.ts";
import { LANES, RECORD_CLASSES } from "../../model/record.ts";
import type { ApiAgent, ApiEvent, ApiLoss, ApiRun, ApiStep, ApiStreamCursor, FleetPort } from "./ports.ts";
import type { AgentDetail, AgentItem, EventItem, LossItem, RunItem, StepItem, StreamItem } from "./views.ts";

/** Unix milliseconds to RFC 3339; a value no date can hold (an agent's clock wrote it) is null. */
function timeOrNull(ms: number | null): string | null {
  if (ms === null) return null;
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

export function time(ms: number): string {
  return isoTime(ms);
}

export function agentItem(row: ApiAgent, fleet: FleetPort): AgentItem {
  return {
    id: row.id,
    status: fleet.status(row),
    connected: fleet.connected(row.id),
    ...sessionItem(fleet.session(row.id)),
    lastHeartbeatAt: timeOrNull(row.lastHeartbeatMs),
    lastHelloAt: timeOrNull(row.lastHelloMs),
    enrolledAt: time(row.enrolledMs),
    version: typeof row.facts.version === "string" ? row.facts.version : null,
    labels: row.labels,
  };
}

function sessionItem(session: ReturnType<FleetPort["session"]>) {
  return { transport: session?.transport ?? null, connectedAt: timeOrNull(session?.sinceMs ?? null) };
}

export function agentDetail(
  row: ApiAgent,
  streams: ApiStreamCursor[],
  lostRows: number,
  fleet: FleetPort,
): AgentDetail {
  return {
    ...agentItem(row, fleet),
    publicKey: row.publicKey,
    certificate: { serial: row.certificateSerial, expiresAt: time(row.certificateExpiresMs) },
    epoch: row.epoch,
    clockOffsetMs: row.clockOffsetMs,
    facts: row.facts,
    report: row.status,
    streams: streams.map(streamItem),
    lostRows,
  };
}

export function lossItem({ atMs, receivedMs, lane, counts, ...loss }: ApiLoss): LossItem {
  return {
    ...loss,
    lane: laneName(lane),
    counts: Object.fromEntries(
      Object.entries(counts).map(([number, count]) => [className(Number(number)), count]),
    ),
    at: timeOrNull(atMs),
    receivedAt: time(receivedMs),
  };
}

function className(recordClass: number): string {
  const found = Object.entries(RECORD_CLASSES).find(([, number]) => number === recordClass);
  return found ? found[0] : recordClass === 0 ? "unknown" : `class-${recordClass}`;
}

function streamItem(stream: ApiStreamCursor): StreamItem {
  return {
    epoch: stream.epoch,
    lane: laneName(stream.lane),
    segment: stream.segment,
    number: stream.number,
    hash: Buffer.from(stream.hash).toString("hex"),
    forked: stream.forked,
  };
}

function laneName(lane: number): string {
  const found = Object.entries(LANES).find(([, number]) => number === lane);
  return found ? found[0] : `lane-${lane}`;
}

export function eventItem(view: ApiEvent): EventItem {
  const { receivedMs, ...rest } = view;
  return { ...rest, receivedAt: time(receivedMs) };
}

export function runItem(view: ApiRun): RunItem {
  const { createdMs, startedMs, endedMs, ...rest } = view;
  return {
    ...rest,
    createdAt: time(createdMs),
    startedAt: timeOrNull(startedMs),
    endedAt: timeOrNull(endedMs),
  };
}

export function stepItem(view: ApiStep): StepItem {
  const { startedMs, endedMs, output, error, ...rest } = view;
  return {
    ...rest,
    startedAt: timeOrNull(startedMs),
    endedAt: timeOrNull(endedMs),
    output: output ?? null,
    error: error ?? null,
  };
}
