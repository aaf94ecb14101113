import type { AgentHome } from "../../agent/config/home.ts";
import { type LoadedPolicy, POLICY_FOLDER } from "../../agent/config/policy.ts";
import type { DoctorCheck } from "./report.ts";
import { agentUid, mayReplace } from "./home-checks.ts";

/** Which policy is in force, what it switches off, and whether the agent itself could change it. */
export function policyCheck(loaded: LoadedPolicy, home: AgentHome | null): DoctorCheck {
  const name = "policy";
  const { path, policy, problem } = loaded;
  if (policy === null) {
    return {
      name,
      state: "failed",
      detail: problem ?? `no plugin may start, because ${path} has problems`,
      fix: `correct ${path}`,
    };
  }
  const said = [path ?? "no policy file: every plugin gets what it asks for, sandbox: on"];
  const open = unconfined(policy);
  if (open.length > 0) said.push(`sandbox: off for ${open.join(", ")}`);
  const changeable = home === null ? null : whoMayChange(path ?? home.policyFile, home);
  if (changeable !== null) said.push(changeable.detail);
  const detail = said.join("; ");
  if (open.length > 0) return { name, state: "note", detail, fix: "confine them again: sandbox: on" };
  if (changeable?.fix === undefined) return { name, state: "ok", detail };
  return { name, state: "note", detail, fix: changeable.fix };
}

function unconfined(policy: NonNullable<LoadedPolicy["policy"]>): string[] {
  if (policy.sandbox === "off") return ["every plugin"];
  return policy.plugins.grants.filter((rule) => rule.sandbox === "off").flatMap((rule) => rule.plugins);
}

function whoMayChange(file: string, home: AgentHome): { detail: string; fix?: string } | null {
  const uid = agentUid(home);
  if (uid === null) return null;
  if (uid === 0) return { detail: "the agent is root and could change it; its confined workers cannot" };
  if (!mayReplace(file, uid)) return { detail: `the agent (uid ${uid}) cannot change it` };
  return {
    detail: `the agent (uid ${uid}) could change it; its confined workers cannot`,
    fix: `keep it in ${POLICY_FOLDER}/${home.id}/policy.yaml, owned by root`,
  };
}
