import { statSync } from "node:fs";
import { dirname } from "node:path";
import type { Ids } from "../../core/ids.ts";
import type { Grant } from "../../model/grant.ts";
import { SYSTEM_PATHS } from "../../model/permissions.ts";

export interface OwnUser {
  uid: number;
  gid: number;
}

/**
 * Far above the ids that distributions, systemd and container managers give out, and below 2^31. With 16 million of them two
 * live workers do not meet by chance.
 */
const FIRST_UID = 1_900_000_000;
const UIDS = 1 << 24;

/**
 * A user of its own for a worker of an agent that is root. Its group is the agent's, so that it can walk into the agent's
 * home (0750). A worker that was granted files outside its own folder keeps the agent's user, without any capability: these
 * files belong to that user. So does one whose code or folder such a stranger could not reach.
 */
export function ownUser(options: {
  root: boolean;
  grant: Grant;
  /** What it must be able to get to: its code, the folder of its own folder, the executable. */
  reach: string[];
  ids: Ids;
}): OwnUser | undefined {
  const { root, grant, reach, ids } = options;
  if (!root || grant.sandbox === "off") return undefined;
  if ([...grant.read, ...grant.write].some((path) => path !== SYSTEM_PATHS)) return undefined;
  const gid = process.getgid?.() ?? 0;
  if (!reach.every((path) => canReach(path, gid))) return undefined;
  return { uid: FIRST_UID + Math.floor(ids.random() * UIDS), gid };
}

/** Whether a stranger of this group may read the path, and walk through every folder to it. */
function canReach(path: string, gid: number): boolean {
  try {
    if (!allows(path, gid, 4)) return false;
    for (let folder = dirname(path); ; folder = dirname(folder)) {
      if (!allows(folder, gid, 1)) return false;
      if (folder === dirname(folder)) return true;
    }
  } catch {
    return false;
  }
}

function allows(path: string, gid: number, right: number): boolean {
  const { mode, gid: group } = statSync(path);
  return (mode & (group === gid ? right << 3 : right)) !== 0;
}
