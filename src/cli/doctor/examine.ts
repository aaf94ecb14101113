import { accessSync, constants } from "node:fs";
import { arch, hostname } from "node:os";
import type { AgentHome } from "../../agent/config/home.ts";
import { celChecks } from "../../agent/config/checks.ts";
import { loadConfig } from "../../agent/config/load.ts";
import { loadPolicy, policyFiles } from "../../agent/config/policy.ts";
import { hostFacts } from "../../agent/local/host-facts.ts";
import type { KernelFacts } from "../../agent/workers/sandbox/kernel-facts.ts";
import { probeKernel } from "../../agent/workers/sandbox/probe.ts";
import { protectionsOf } from "../../agent/workers/sandbox/protections.ts";
import { selfCommand } from "../../agent/workers/self-command.ts";
import type { Clock } from "../../core/clock.ts";
import { systemCode } from "../../core/errors.ts";
import { VERSION } from "../../core/version.ts";
import type { Config } from "../../model/config.ts";
import { formatProblem } from "../../model/config-problem.ts";
import { lazyPluginChecks } from "../plugin-checks.ts";
import { askAgent } from "./agent-check.ts";
import { clockCheck } from "./clock-check.ts";
import { everydayGaps } from "./everyday.ts";
import { agentUid, diskCheck, homeCheck } from "./home-checks.ts";
import { hubCheck } from "./hub-check.ts";
import { policyCheck } from "./policy-check.ts";
import { programCheck } from "./program-check.ts";
import { type DoctorCheck, type DoctorReport, isWrong } from "./report.ts";

export interface Subject {
  home: AgentHome | null;
  /** Why there is none. */
  noHome: string | null;
  clock: Clock;
  uid: number | null;
}

/** Looks at everything, changes nothing. */
export async function examine({ home, noHome, clock, uid }: Subject): Promise<DoctorReport> {
  const hiddenPolicy = home === null ? undefined : policyFiles(home).find(isOutOfReach);
  const policy = await loadPolicy(home === null || hiddenPolicy !== undefined ? [] : policyFiles(home));
  // A policy with problems lets nothing run; what it would have said about the sandbox is not known.
  const sandbox = policy.policy?.sandbox ?? "on";
  const facts = await probeKernel(selfCommand().command);
  const agent = home === null ? null : await askAgent(home);
  const checks: DoctorCheck[] = [
    userCheck(facts, uid, home),
    cgroupCheck(facts),
    hiddenPolicy === undefined ? policyCheck(policy, home) : outOfReach("policy", hiddenPolicy),
    ...(home === null
      ? [{ name: "home", state: "note" as const, detail: noHome ?? "there is none" }]
      : await homeChecks(home, clock, uid)),
    clockCheck(clock, home),
    ...(agent === null ? [] : [agent.check]),
  ];
  const protections = agent?.running?.protections ?? protectionsOf(facts, sandbox, { uid: facts.root });
  const { os, kernel } = hostFacts(VERSION, protections);
  const report: DoctorReport = {
    ok: false,
    version: VERSION,
    host: { hostname: hostname(), os, kernel, arch: arch() },
    uid,
    agent: home === null ? null : { id: home.id, home: home.root },
    sandbox,
    measured: agent?.running ? { by: "agent", pid: agent.running.pid } : { by: "doctor" },
    protections,
    everyday: sandbox === "off" ? [] : everydayGaps(facts),
    checks,
  };
  return { ...report, ok: !isWrong(report) };
}

function userCheck(facts: KernelFacts, uid: number | null, home: AgentHome | null): DoctorCheck {
  const name = "user";
  const owner = home === null ? null : agentUid(home);
  if (owner !== null && owner !== uid) {
    return {
      name,
      state: "note",
      detail: `this is uid ${uid}, the agent's home belongs to uid ${owner}: another user may get other levels`,
      fix: `run it as uid ${owner}`,
    };
  }
  const detail = facts.root
    ? "root: workers get users of their own, and lose every capability"
    : `uid ${uid}: workers run as the same user`;
  return { name, state: "ok", detail };
}

function cgroupCheck({ cgroup }: KernelFacts): DoctorCheck {
  const name = "cgroup";
  const fix = "run the agent in a systemd unit with Delegate=cpu memory pids, on a host with cgroup v2";
  if (cgroup.kind === "none") return { name, state: "note", detail: cgroup.reason, fix };
  const lacking = (["cpu", "memory", "pids"] as const).filter((each) => !cgroup.controllers.includes(each));
  if (lacking.length === 0) {
    return { name, state: "ok", detail: `${cgroup.folder} is delegated, with cpu, memory and pids` };
  }
  const why = cgroup.reason === "" ? "" : ` (${cgroup.reason})`;
  return { name, state: "note", detail: `${cgroup.folder} has no ${lacking.join(" and no ")}${why}`, fix };
}

async function homeChecks(home: AgentHome, clock: Clock, uid: number | null): Promise<DoctorCheck[]> {
  const { config, check } = await configCheck(home, uid);
  return [
    homeCheck(home),
    diskCheck(home.root),
    check,
    ...(config === null ? [] : [programCheck(config, home)]),
    ...(config?.hub === undefined ? [] : [await hubCheck(config.hub.url, home.certificates, clock)]),
  ];
}

/** Plugins of the home are only asked as the agent's own user: what describing them leaves in its cache must be its own. */
async function configCheck(
  home: AgentHome,
  uid: number | null,
): Promise<{ config: Config | null; check: DoctorCheck }> {
  const name = "configuration";
  if (isOutOfReach(home.configFile)) return { config: null, check: outOfReach(name, home.configFile) };
  const { config, problems, files } = await loadConfig({
    configFile: home.configFile,
    confDir: home.confDir,
    env: process.env,
    checks: {
      expressions: celChecks,
      ...(agentUid(home) === uid ? { plugins: lazyPluginChecks(home) } : {}),
    },
  });
  if (config !== null) {
    return {
      config,
      check: { name, state: "ok", detail: files.length === 0 ? "defaults" : files.join(", ") },
    };
  }
  const [first] = problems;
  const more = problems.length > 1 ? ` and ${problems.length - 1} more` : "";
  return {
    config,
    check: {
      name,
      state: "failed",
      detail: `${first === undefined ? "it has problems" : formatProblem(first)}${more}`,
      fix: `holdfast config validate --home ${home.base} --id ${home.id} shows all`,
    },
  };
}

/** Somebody else's: nothing is wrong with it, but this user cannot tell. */
function outOfReach(name: string, path: string): DoctorCheck {
  return { name, state: "note", detail: `this user may not read ${path}`, fix: "run it as the agent's user" };
}

function isOutOfReach(path: string): boolean {
  try {
    accessSync(path, constants.R_OK);
    return false;
  } catch (error) {
    return ["EACCES", "EPERM"].includes(systemCode(error) ?? "");
  }
}
