import { accessSync, constants, readFileSync, statfsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { messageOf, systemCode } from "../../../core/errors.ts";
import type { CgroupFacts } from "../sandbox/kernel-facts.ts";
import { readXattr } from "./xattr.ts";

const CGROUP2_MAGIC = 0x63677270;
export const CONTROLLERS = ["memory", "pids", "cpu"] as const;
export type Controller = (typeof CONTROLLERS)[number];

/** The group into which an agent moves itself, so that groups with limits can be made beside it. */
export const AGENT_GROUP = "agent";

export interface DetectOptions {
  /** The agent runs as root: that it can write somewhere then proves nothing. */
  root: boolean;
  /** Where cgroup v2 is mounted. */
  mount?: string;
  /** The text of /proc/self/cgroup. */
  membership?: string;
  /** An extended attribute of a folder, null without it. */
  xattr?: (path: string, name: string) => string | null;
}

/** Whether a part of the tree of control groups was handed to this agent, and with which controllers. Reads only. */
export function detectCgroup(options: DetectOptions): CgroupFacts {
  const mount = options.mount ?? "/sys/fs/cgroup";
  const none = (reason: string): CgroupFacts => ({ kind: "none", reason });
  try {
    if (statfsSync(mount).type !== CGROUP2_MAGIC) return none(`${mount} is not cgroup v2`);
    const path = ownPath(options.membership ?? readFileSync("/proc/self/cgroup", "utf8"));
    if (path === null) return none("this process is in no cgroup v2");
    return delegated(join(mount, path), options);
  } catch (error) {
    return none(`cannot read ${mount}: ${messageOf(error)}`);
  }
}

/** The path after `0::`, the entry of cgroup v2. It is taken as it is: systemd writes a dash in a name as `\x2d`. */
export function ownPath(membership: string): string | null {
  const line = membership.split("\n").find((entry) => entry.startsWith("0::/"));
  if (line === undefined || line.endsWith(" (deleted)")) return null;
  return line.slice(3);
}

function delegated(own: string, options: DetectOptions): CgroupFacts {
  // An agent that was started by one that had moved itself is in the group that was made for that.
  const candidates = basename(own) === AGENT_GROUP ? [dirname(own), own] : [own];
  const reasons: string[] = [];
  for (const folder of candidates) {
    const refusal = refusalOf(folder, options);
    if (refusal === null)
      return { kind: "v2", folder, controllers: available(folder), reason: "delegated to the agent" };
    reasons.push(refusal);
  }
  return { kind: "none", reason: reasons.at(-1)! };
}

/** null when the folder was handed over. */
function refusalOf(folder: string, { root, xattr = readXattr }: DetectOptions): string | null {
  if (xattr(folder, "user.delegate") === "1" || xattr(folder, "trusted.delegate") === "1") return null;
  if (root) return `${folder} is not delegated to the agent (no Delegate= in its unit)`;
  for (const path of [folder, join(folder, "cgroup.procs"), join(folder, "cgroup.subtree_control")]) {
    try {
      accessSync(path, constants.W_OK);
    } catch (error) {
      return `${path} is not the agent's to write (${systemCode(error) ?? messageOf(error)}): its unit lacks Delegate=`;
    }
  }
  return null;
}

function available(folder: string): Controller[] {
  const offered = readFileSync(join(folder, "cgroup.controllers"), "utf8").trim().split(" ");
  return CONTROLLERS.filter((name) => offered.includes(name));
}
