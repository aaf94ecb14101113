import type { AgentHome } from "../../agent/config/home.ts";
import type { Check } from "../../core/health-port.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import { PROTECTION_LEVELS, type Protections } from "../../model/protection.ts";
import { callAgent } from "../control-client.ts";
import type { DoctorCheck } from "./report.ts";

export interface AgentFound {
  check: DoctorCheck;
  /** What a running agent says of its own workers: it may be in a unit with more than this process has. */
  running: { pid: number; protections: Protections } | null;
}

/** Whether the agent runs, and what it says of itself. That it does not run is nothing wrong. */
export async function askAgent(home: AgentHome): Promise<AgentFound> {
  const name = "agent";
  interface Status {
    pid: number;
    phase: string;
    checks: Check[];
    protections: unknown;
  }
  let status: Status;
  try {
    status = await callAgent<Status>(home.controlSocket, home.id, "GET", "/v1/status");
  } catch (error) {
    const away = error instanceof HoldfastError && error.code === "unreachable";
    const detail = away ? "is not running" : `cannot be asked: ${messageOf(error)}`;
    return { check: { name, state: away ? "ok" : "note", detail }, running: null };
  }
  const failed = status.checks.filter((check) => check.state === "failed");
  const reasons = failed.map((check) => `${check.name}${check.reason ? ` (${check.reason})` : ""}`);
  const said = `is ${status.phase}, pid ${status.pid}`;
  const check: DoctorCheck =
    failed.length === 0
      ? { name, state: "ok", detail: said }
      : {
          name,
          state: "failed",
          detail: `${said}; failed: ${reasons.join(", ")}`,
          fix: `see holdfast agent status --id ${home.id}`,
        };
  const { protections } = status;
  return { check, running: areProtections(protections) ? { pid: status.pid, protections } : null };
}

/** An agent of another version may say less. */
function areProtections(value: unknown): value is Protections {
  const levels = value as Partial<Protections> | null;
  return PROTECTION_LEVELS.every((name) => Array.isArray(levels?.[name]?.unprotected));
}
