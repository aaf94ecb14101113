import type { Ids } from "../../core/ids.ts";
import type { Grant } from "../../model/grant.ts";

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
 * home (0750) to what it was granted; what it may read there is Landlock's and the mount namespace's to say. A worker that may
 * write outside its own folder keeps the agent's user, without any capability: files there belong to that user.
 */
export function ownUser(options: { root: boolean; grant: Grant; ids: Ids }): OwnUser | undefined {
  const { root, grant, ids } = options;
  if (!root || grant.sandbox === "off" || grant.write.length > 0) return undefined;
  return { uid: FIRST_UID + Math.floor(ids.random() * UIDS), gid: process.getgid?.() ?? 0 };
}
