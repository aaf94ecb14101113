import * as v from "valibot";
import { formatDuration } from "../core/duration.ts";
import type { AgentDetail, LossItem } from "../hub/api/views.ts";
import { grantLines } from "./grant-lines.ts";
import { plainLine } from "./plain-text.ts";
import { timeAndAge } from "./show-time.ts";
import { stateColor, table, type TableOptions } from "./table.ts";

const grantSchema = v.object({
  sandbox: v.picklist(["on", "off"]),
  permissions: v.record(v.string(), v.array(v.string())),
  resources: v.record(v.string(), v.string()),
  narrowed: v.array(v.string()),
  hidden: v.array(v.string()),
});
const protectionsSchema = v.record(v.string(), v.object({ level: v.string(), reason: v.string() }));

/** What the status document of a heartbeat is known to hold; anything else in it is for `--json`. */
const reportSchema = v.object({
  checks: v.fallback(
    v.array(v.object({ name: v.string(), state: v.string(), reason: v.optional(v.nullable(v.string())) })),
    [],
  ),
  parts: v.fallback(
    v.array(
      v.object({
        name: v.string(),
        plugin: v.string(),
        kind: v.string(),
        state: v.string(),
        restarts: v.number(),
        reason: v.optional(v.nullable(v.string())),
        granted: v.fallback(v.optional(grantSchema), undefined),
      }),
    ),
    [],
  ),
});

/** Lines of `agents show`. */
export function showAgent(
  agent: AgentDetail,
  losses: LossItem[],
  nowMs: number,
  options: TableOptions,
): string[] {
  const report = v.parse(reportSchema, { checks: [], parts: [], ...agent.report });
  const lines = facts(agent, nowMs, options);
  if (report.checks.length > 0) {
    lines.push("", "Checks");
    lines.push(
      ...table(
        report.checks,
        [
          { title: "CHECK", value: (row) => row.name },
          { title: "STATE", value: (row) => row.state, color: stateColor },
          { title: "REASON", value: (row) => row.reason, shrinkTo: 20 },
        ],
        options,
      ),
    );
  }
  if (report.parts.length > 0) {
    lines.push("", "Parts");
    lines.push(
      ...table(
        report.parts,
        [
          { title: "NAME", value: (row) => row.name },
          { title: "KIND", value: (row) => row.kind },
          { title: "PLUGIN", value: (row) => row.plugin },
          { title: "STATE", value: (row) => row.state, color: stateColor },
          { title: "RESTARTS", value: (row) => row.restarts },
          { title: "REASON", value: (row) => row.reason, shrinkTo: 20 },
        ],
        options,
      ),
    );
  }
  const granted = report.parts.flatMap((part) => (part.granted ? [{ ...part, granted: part.granted }] : []));
  if (granted.length > 0) {
    lines.push("", "Granted");
    for (const { kind, name, granted: grant } of granted) {
      lines.push(plainLine(`${kind} ${name}`), ...grantLines(grant).map((line) => plainLine(`  ${line}`)));
    }
  }
  const protections = v.safeParse(protectionsSchema, agent.facts.protections);
  if (protections.success) {
    lines.push("", "Protection of workers");
    lines.push(
      ...table(
        Object.entries(protections.output),
        [
          { title: "LEVEL", value: ([name]) => name },
          { title: "STATE", value: ([, { level }]) => level, color: stateColor },
          { title: "REASON", value: ([, { reason }]) => reason, shrinkTo: 20 },
        ],
        options,
      ),
    );
  }
  if (losses.length > 0) {
    lines.push("", `Lost before the hub had them: ${agent.lostRows} rows`);
    lines.push(...lossLines(losses, nowMs, options));
  }
  if (agent.streams.length > 0) {
    lines.push("", "Streams (what the hub holds)");
    lines.push(...streams(agent, options));
  }
  return lines;
}

function sessionLine({ status, connected, transport, connectedAt }: AgentDetail, nowMs: number): string {
  if (!connected) return status;
  return transport === null
    ? `${status} (connected)`
    : `${status} (connected over ${transport} since ${timeAndAge(connectedAt, nowMs)})`;
}

function facts(agent: AgentDetail, nowMs: number, options: TableOptions): string[] {
  const { hostname, os, kernel, arch, cpus, memoryBytes, addresses } = agent.facts;
  const memory = typeof memoryBytes === "number" ? `${Math.round(memoryBytes / 2 ** 20)} MiB` : undefined;
  const machine = [os, kernel, arch, cpus === undefined ? undefined : `${String(cpus)} CPUs`, memory];
  const offset = agent.clockOffsetMs;
  const rows: [string, string][] = [
    ["Agent", agent.id],
    ["Status", sessionLine(agent, nowMs)],
    ["Heartbeat", timeAndAge(agent.lastHeartbeatAt, nowMs)],
    ["Hello", timeAndAge(agent.lastHelloAt, nowMs)],
    ["Enrolled", timeAndAge(agent.enrolledAt, nowMs)],
    ["Version", agent.version ?? "-"],
    ["Labels", labelLine(agent.labels)],
    ["Host", [hostname, ...machine].filter((part) => part !== undefined && part !== "").join(", ")],
    ["Addresses", Array.isArray(addresses) ? addresses.join(", ") : "-"],
    ["Clock", offset === null ? "-" : clockLine(offset)],
    ["Certificate", `${agent.certificate.serial}, expires ${timeAndAge(agent.certificate.expiresAt, nowMs)}`],
  ];
  return table(
    rows,
    [
      { title: "", value: ([name]) => name },
      { title: "", value: ([, value]) => value, color: stateColor },
    ],
    { ...options, width: undefined, header: false },
  );
}

export function labelLine(labels: Record<string, string>): string {
  const texts = Object.entries(labels).map(([name, value]) => `${name}=${value}`);
  return plainLine(texts.join(","));
}

function clockLine(offsetMs: number): string {
  const ms = Math.round(Math.abs(offsetMs));
  if (ms < 1000) return "agrees with the hub's";
  const amount = formatDuration(ms < 60_000 ? ms : Math.round(ms / 1000) * 1000);
  return `${amount} ${offsetMs > 0 ? "behind" : "ahead of"} the hub's`;
}

const SHOWN_LOSSES = 20;

function lossLines(losses: LossItem[], nowMs: number, options: TableOptions): string[] {
  const more = losses.length - SHOWN_LOSSES;
  const lines = table(
    losses.slice(0, SHOWN_LOSSES),
    [
      { title: "LANE", value: (row) => row.lane },
      { title: "EPOCH", value: (row) => row.epoch.slice(0, 8) },
      { title: "SEGMENT", value: (row) => row.segment },
      { title: "NUMBERS", value: (row) => `${row.first} to ${row.last}` },
      {
        title: "ROWS",
        value: (row) =>
          Object.entries(row.counts)
            .map(([name, rows]) => `${rows} ${name}`)
            .join(", "),
      },
      { title: "WHY", value: (row) => row.reason },
      { title: "WHEN", value: (row) => timeAndAge(row.at, nowMs) },
    ],
    options,
  );
  return more > 0 ? [...lines, `and ${more} more: --json`] : lines;
}

function streams(agent: AgentDetail, options: TableOptions): string[] {
  return table(
    agent.streams,
    [
      { title: "LANE", value: (row) => row.lane },
      { title: "EPOCH", value: (row) => row.epoch.slice(0, 8) },
      { title: "SEGMENT", value: (row) => row.segment },
      { title: "NUMBER", value: (row) => row.number },
      { title: "FORKED", value: (row) => row.forked },
      { title: "HASH", value: (row) => row.hash, shrinkTo: 12 },
    ],
    options,
  );
}
