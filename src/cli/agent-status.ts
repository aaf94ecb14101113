import { isoTime } from "../core/iso-time.ts";
import { type ArgsDef, defineCommand } from "citty";
import { systemClock } from "../core/clock.ts";
import { ERROR_CODES } from "../core/errors.ts";
import type { Check } from "../core/health-port.ts";
import type { OutputDelivery, PartStatus } from "../model/agent-status.ts";
import { RESOURCE_NAMES, resourceText, type ResourceUses } from "../model/resource-use.ts";
import type { Protections } from "../model/protection.ts";
import { type BrakeState, brakeLines } from "./brake.ts";
import { changedSince } from "./config-changed.ts";
import { callAgent } from "./control-client.ts";
import { findAgentHome, HOME_ARGS } from "./home-args.ts";
import { grantLines } from "./grant-lines.ts";
import { plainText } from "./plain-text.ts";
import { timeAndAge } from "./show-time.ts";
import { checkArguments } from "./strict-args.ts";

const ARGS = {
  ...HOME_ARGS,
  json: { type: "boolean", description: "Print JSON" },
} as const satisfies ArgsDef;

interface Status {
  id: string;
  version: string;
  pid: number;
  phase: string;
  uptimeMs: number;
  home: string;
  health: string;
  checks: Check[];
  parts: PartStatus[];
  resources: ResourceUses;
  runs: { open: number; stepsRunning: number };
  locks?: { lock: string; holder: string; waiting: number }[];
  store: {
    deadLetters?: number;
    openFindings?: number;
    outbox?: { lost: Record<string, Record<string, number>> };
  };
  asking: { run: string; step: string; reason: string | null }[];
  /** How many, by state. */
  schedules: Record<string, number>;
  brake?: BrakeState;
  silences?: { active: number; maintenance: string[] };
  sync: {
    state: string;
    sinceMs: number;
    lagRows: number;
    backlogRows?: number;
    transport: string | null;
    lastError: string | null;
    receipts?: Record<string, { number: number; atMs: number }>;
    hubLost?: { lane: string; held: number; number: number }[];
  };
  protections: Protections | null;
  policy: string;
}

export const agentStatus = defineCommand({
  meta: {
    name: "status",
    description:
      "Ask the running agent how it is; exit 1 when something has failed, 5 when it does not run\n\nExample: holdfast agent status --id web-01",
  },
  args: ARGS,
  async run({ args }) {
    checkArguments(ARGS, args);
    const home = findAgentHome(args);
    const status = await callAgent<Status>(home.controlSocket, home.id, "GET", "/v1/status");
    if (status.checks.some((check) => check.state === "failed")) process.exitCode = ERROR_CODES.failed.exit;
    if (args.json) return console.log(JSON.stringify(status));
    const changed = changedSince(home, systemClock().wall() - status.uptimeMs);
    for (const line of describe(status, changed)) console.log(plainText(line));
  },
});

function toDo({ state, plugin, kind, name }: PartStatus, home: string): string[] {
  if (state !== "quarantined") return [];
  const again =
    kind === "trigger"
      ? `, or curl --unix-socket ${home}/control.sock -X POST http://agent/v1/triggers/${encodeURIComponent(name)}/reset`
      : "";
  return [`see ${home}/logs/plugins/${plugin}.log; it begins again when the agent is restarted${again}`];
}

/** For how long the hub has been there, or away. */
function since({ state, sinceMs }: Status["sync"]): string {
  if (state === "disabled") return "";
  return ` since ${timeAndAge(isoTime(sinceMs), systemClock().wall())}`;
}

function setAside({ store: { deadLetters = 0, openFindings = 0 } }: Status): string {
  const dead = deadLetters > 0 ? `; ${deadLetters} failed and set aside: holdfast dead list` : "";
  return openFindings > 0 ? `${dead}; ${openFindings} open findings: holdfast finding list` : dead;
}

function lostLines({ store }: Status): string[] {
  const lost = Object.entries(store.outbox?.lost ?? {}).flatMap(([name, reasons]) =>
    Object.entries(reasons).map(([reason, rows]) => `${rows} of class ${name} (${reason})`),
  );
  return lost.length === 0 ? [] : [`lost before the hub had them: ${lost.join(", ")}`];
}

function deliveryLines(delivery: OutputDelivery | undefined): string[] {
  if (!delivery) return [];
  const { behind, circuit, failures, rejected, lost, lastError } = delivery;
  const count = Object.values(lost).reduce((sum, each) => sum + each, 0);
  return [
    `${behind} events behind, ${rejected} refused for good, ${count} lost`,
    ...(failures === 0 ? [] : [`${failures} failures in a row, circuit ${circuit}: ${lastError}`]),
  ];
}

function silenceLines({ silences }: Status): string[] {
  if (!silences) return [];
  const { active, maintenance } = silences;
  return [
    ...(active > 0 ? [`silences: ${active} hold; holdfast silence list`] : []),
    ...maintenance.map((name) => `maintenance window ${name} is open`),
  ];
}

/** What the hub has signed to hold, and what it has lost of that. */
function receiptLines({ receipts = {}, hubLost = [] }: Status["sync"]): string[] {
  return [
    ...Object.entries(receipts).map(
      ([lane, { number, atMs }]) =>
        `receipt ${lane}: the hub signed for rows up to ${number}, ${timeAndAge(isoTime(atMs), systemClock().wall())}`,
    ),
    ...hubLost.map(
      ({ lane, held, number }) =>
        `hub lost rows: ${held + 1} to ${number} of lane ${lane}, which a receipt proves it had`,
    ),
  ];
}

function describe(status: Status, changed: string | null): string[] {
  const { sync, runs } = status;
  const because = (reason: string | null | undefined) => (reason ? ` (${reason})` : "");
  return [
    `agent ${status.id} is ${status.phase}, pid ${status.pid}, version ${status.version}`,
    `home ${status.home}`,
    `health ${status.health}`,
    ...(changed === null ? [] : [`configuration: ${changed}`]),
    ...status.checks.map((check) => `check ${check.name}: ${check.state}${because(check.reason)}`),
    ...status.parts.flatMap((part) => [
      `${part.kind} ${part.name}: ${part.state}, ${part.restarts} restarts${because(part.reason)}`,
      ...deliveryLines(part.delivery).map((line) => `  ${line}`),
      ...toDo(part, status.home).map((line) => `  to do: ${line}`),
      ...grantLines(part.granted).map((line) => `  ${line}`),
    ]),
    ...RESOURCE_NAMES.map((name) => resourceText(name, status.resources[name])),
    `runs: ${runs.open} open, ${runs.stepsRunning} steps running${setAside(status)}`,
    ...(status.locks ?? []).map(
      ({ lock, holder, waiting }) =>
        `lock ${lock}: held by run ${holder}, ${waiting} waiting; holdfast runs show|cancel ${holder}`,
    ),
    ...(status.brake?.on ? brakeLines(status.brake, systemClock().wall()) : []),
    ...silenceLines(status),
    ...Object.entries(status.schedules).map(([state, count]) => `schedules ${state}: ${count}`),
    ...status.asking.map(
      (ask) =>
        `asks: run ${ask.run} step ${ask.step}${because(ask.reason)}; holdfast runs approve|deny ${ask.run} --step ${ask.step}`,
    ),
    `sync: ${sync.state}${sync.transport ? ` over ${sync.transport}` : ""}${since(sync)}, ${sync.lagRows} rows behind${sync.backlogRows ? ` (${sync.backlogRows} of them backlog)` : ""}${because(sync.lastError)}`,
    ...lostLines(status),
    ...receiptLines(sync),
    status.policy,
    ...Object.entries(status.protections ?? {}).map(
      ([name, level]) => `protection ${name}: ${level.level}${because(level.reason)}`,
    ),
  ];
}
