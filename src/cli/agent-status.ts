import { type ArgsDef, defineCommand } from "citty";
import { ERROR_CODES } from "../core/errors.ts";
import type { Check } from "../core/health-port.ts";
import type { PartStatus } from "../model/agent-status.ts";
import { RESOURCE_NAMES, resourceText, type ResourceUses } from "../model/resource-use.ts";
import type { Protections } from "../model/protection.ts";
import { callAgent } from "./control-client.ts";
import { findAgentHome, HOME_ARGS } from "./home-args.ts";
import { grantLines } from "./grant-lines.ts";
import { plainText } from "./plain-text.ts";
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
  home: string;
  health: string;
  checks: Check[];
  parts: PartStatus[];
  resources: ResourceUses;
  runs: { open: number; stepsRunning: number };
  asking: { run: string; step: string; reason: string | null }[];
  /** How many, by state. */
  schedules: Record<string, number>;
  sync: { state: string; lagRows: number; transport: string | null; lastError: string | null };
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
    for (const line of describe(status)) console.log(plainText(line));
  },
});

function describe(status: Status): string[] {
  const { sync, runs } = status;
  const because = (reason: string | null | undefined) => (reason ? ` (${reason})` : "");
  return [
    `agent ${status.id} is ${status.phase}, pid ${status.pid}, version ${status.version}`,
    `home ${status.home}`,
    `health ${status.health}`,
    ...status.checks.map((check) => `check ${check.name}: ${check.state}${because(check.reason)}`),
    ...status.parts.flatMap((part) => [
      `${part.kind} ${part.name}: ${part.state}, ${part.restarts} restarts${because(part.reason)}`,
      ...grantLines(part.granted).map((line) => `  ${line}`),
    ]),
    ...RESOURCE_NAMES.map((name) => resourceText(name, status.resources[name])),
    `runs: ${runs.open} open, ${runs.stepsRunning} steps running`,
    ...Object.entries(status.schedules).map(([state, count]) => `schedules ${state}: ${count}`),
    ...status.asking.map(
      (ask) =>
        `asks: run ${ask.run} step ${ask.step}${because(ask.reason)}; holdfast runs approve|deny ${ask.run} --step ${ask.step}`,
    ),
    `sync: ${sync.state}${sync.transport ? ` over ${sync.transport}` : ""}, ${sync.lagRows} rows behind${because(sync.lastError)}`,
    status.policy,
    ...Object.entries(status.protections ?? {}).map(
      ([name, level]) => `protection ${name}: ${level.level}${because(level.reason)}`,
    ),
  ];
}
