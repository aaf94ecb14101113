import type { Check } from "../core/health-port.ts";
import { formatDuration } from "../core/duration.ts";
import { JUMP_MS } from "../core/time-watch.ts";
import type { PartStatus } from "../model/agent-status.ts";
import type { AgentStore } from "./store/port.ts";
import { hubLossText } from "./sync/hub-loss.ts";
import type { SyncStatus } from "./sync/sync-status.ts";

/** One event may be odd. */
const ENOUGH_ERRORS = 3;
const SHOWN_RULES = 3;

interface CheckedRule {
  name: string;
  /** Why it does not run at all. */
  broken: string | null;
  counters: { matched: number; errors: number; lastError: string | null };
}

export interface CheckedFacts {
  phase: string;
  storeProblem: string | null;
  salvage: AgentStore["facts"]["salvage"];
  parts: PartStatus[];
  sync: SyncStatus;
  rules: CheckedRule[];
  runProblem: string | null;
  policyProblem: string | null;
  secretProblem: string | null;
  /** The wall clock, behind the trusted time. */
  clockBehindMs: number;
  /** Why nothing begins that no person started. */
  brake: string | null;
  /** Rows that the hub never had are being lost. */
  outboxProblem: string | null;
}

/** What `/readyz` and the status say of the agent's parts: each check with its state, and why it is not well. */
export function agentChecks(facts: CheckedFacts): Check[] {
  const { phase, parts, sync, rules, runProblem, policyProblem, secretProblem, clockBehindMs, brake } = facts;
  return [
    phase === "running"
      ? { name: "start", state: "ok" }
      : { name: "start", state: "failed", reason: `the agent is ${phase}` },
    storeCheck(facts),
    workerCheck(parts),
    degradedBy("outputs", outputProblem(parts)),
    syncCheck(sync),
    degradedBy("outbox", facts.outboxProblem),
    degradedBy("rules", ruleProblem(rules)),
    degradedBy("runs", runProblem),
    degradedBy("policy", policyProblem),
    degradedBy("secrets", secretProblem),
    degradedBy("clock", clockProblem(clockBehindMs)),
    degradedBy("brake", brake),
  ];
}

function storeCheck({ storeProblem, salvage }: CheckedFacts): Check {
  if (storeProblem !== null) return { name: "store", state: "failed", reason: storeProblem };
  return degradedBy("store", salvage ? `a corrupt store was set aside as ${salvage.movedTo}` : null);
}

function workerCheck(parts: PartStatus[]): Check {
  const broken = parts.filter((part) => part.state === "failed" || part.state === "quarantined");
  const reasons = broken.map(
    (part) => `${part.kind} ${part.name} is ${part.state}: ${part.reason ?? "no reason known"}`,
  );
  return degradedBy("workers", reasons.length === 0 ? null : reasons.join("; "));
}

/** Outputs that lost something of late, or whose destination is left alone because it fails. */
function outputProblem(parts: PartStatus[]): string | null {
  const reasons = parts.flatMap(({ name, delivery }) => {
    if (!delivery) return [];
    const { lost, recentLoss, circuit, failures, lastError, behind } = delivery;
    const count = Object.values(lost).reduce((sum, each) => sum + each, 0);
    return [
      ...(recentLoss ? [`output ${name} was too far behind: ${count} events do not reach it`] : []),
      ...(circuit === "closed"
        ? []
        : [`output ${name} failed ${failures} times in a row (${lastError}); ${behind} events wait`]),
    ];
  });
  return reasons.length === 0 ? null : reasons.join("; ");
}

/** Rules that cannot do anything: not compiled, or failed for every event so far. A single failure is only counted. */
function ruleProblem(rules: CheckedRule[]): string | null {
  const useless = rules.flatMap(({ name, broken, counters: { matched, errors, lastError } }) => {
    if (broken !== null) return [`rule ${name} does not run: ${broken}`];
    const failed = errors >= ENOUGH_ERRORS && matched === 0;
    return failed ? [`rule ${name} has never matched and failed ${errors} times: ${lastError}`] : [];
  });
  if (useless.length === 0) return null;
  const more = useless.length > SHOWN_RULES ? `; and ${useless.length - SHOWN_RULES} more` : "";
  return `${useless.slice(0, SHOWN_RULES).join("; ")}${more}: holdfast rules list`;
}

/** Ahead it may well be right: the host was asleep, or began with a clock that was behind. */
function clockProblem(behindMs: number): string | null {
  if (behindMs <= JUMP_MS) return null;
  const behind = formatDuration(Math.round(behindMs / 60_000) * 60_000);
  return (
    `this host's clock is ${behind} behind the time that the agent has seen: it was set back, or was ahead when the ` +
    "agent started; nothing runs out sooner or later by that (docs/clocks.md), but check it"
  );
}

function syncCheck(sync: SyncStatus): Check {
  const [lost] = sync.hubLost;
  if (lost) return degradedBy("sync", hubLossText(lost));
  if (sync.state === "online") return { name: "sync", state: "ok" };
  if (sync.state === "disabled") return { name: "sync", state: "ok", reason: "no hub configured" };
  return degradedBy("sync", sync.lastError ?? sync.state);
}

function degradedBy(name: string, reason: string | null): Check {
  return reason === null ? { name, state: "ok" } : { name, state: "degraded", reason };
}
