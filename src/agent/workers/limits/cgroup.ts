import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../../core/clock.ts";
import { messageOf, systemCode } from "../../../core/errors.ts";
import type { Logger } from "../../../core/logger.ts";
import type { Resources } from "../../../model/permissions.ts";
import type { CgroupFacts } from "../sandbox/kernel-facts.ts";
import { AGENT_GROUP, type Controller, type DetectOptions, detectCgroup } from "./cgroup-facts.ts";
import { CgroupLeaf } from "./cgroup-leaf.ts";

export { CgroupLeaf, type LeafUse } from "./cgroup-leaf.ts";

const WORKERS_GROUP = "workers";
/** New processes may appear while the old ones are moved. */
const MOVE_ROUNDS = 20;

export interface CgroupOptions {
  clock: Clock;
  log?: Logger;
}

/** The agent's part of the tree: itself in `agent`, each worker in a leaf under `workers`. */
export class Cgroup {
  readonly facts: Extract<CgroupFacts, { kind: "v2" }>;
  readonly #clock: Clock;
  readonly #workers: string;

  constructor(facts: Extract<CgroupFacts, { kind: "v2" }>, clock: Clock) {
    this.facts = facts;
    this.#clock = clock;
    this.#workers = join(facts.folder, WORKERS_GROUP);
  }

  /** A group of its own for a worker, with its limits; `host` is one that runs the JavaScript engine. */
  async leaf(id: string, resources: Resources, host: boolean): Promise<CgroupLeaf> {
    // The number of the agent tells another one, or a later one, whose it is.
    const folder = join(this.#workers, `${process.pid}.${id}`);
    const { controllers } = this.facts;
    return CgroupLeaf.make({ folder, resources, host, controllers, clock: this.#clock });
  }

  /** Removes leaves of agents that are gone, with what still runs in them. */
  async removeStale(): Promise<number> {
    const stale = readdirSync(this.#workers, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !this.#ownerLives(entry.name))
      .map((entry) => CgroupLeaf.at(join(this.#workers, entry.name), this.#clock));
    await Promise.all(stale.map((leaf) => leaf.remove()));
    return stale.length;
  }

  #ownerLives(name: string): boolean {
    const owner = Number.parseInt(name, 10);
    // At the start nothing is ours yet: a leaf with our number is of an earlier process that had it.
    if (!Number.isInteger(owner) || owner === process.pid) return false;
    const members = readFileSync(join(this.facts.folder, AGENT_GROUP, "cgroup.procs"), "utf8");
    return members.split("\n").includes(String(owner));
  }
}

/** What this host offers, and the agent's part of it ready for use; `cgroup` is null where nothing was delegated. */
export async function openCgroup(
  options: DetectOptions & CgroupOptions,
): Promise<{ facts: CgroupFacts; cgroup: Cgroup | null }> {
  return await createCgroup(detectCgroup(options), options);
}

/**
 * Takes possession of what `detectCgroup` found: moves the agent into a group of its own, switches the controllers on and
 * removes what an earlier agent left. The facts that come back hold the controllers that could really be switched on.
 */
export async function createCgroup(
  facts: CgroupFacts,
  { clock, log }: CgroupOptions,
): Promise<{ facts: CgroupFacts; cgroup: Cgroup | null }> {
  if (facts.kind === "none") return { facts, cgroup: null };
  const problems: string[] = [];
  try {
    mkdirSync(join(facts.folder, AGENT_GROUP), { recursive: true });
    mkdirSync(join(facts.folder, WORKERS_GROUP), { recursive: true });
    moveAgent(facts.folder);
    const inner = join(facts.folder, WORKERS_GROUP);
    const controllers = facts.controllers.filter((name) => {
      const problem = enable(facts.folder, name) ?? enable(inner, name);
      if (problem !== null) problems.push(problem);
      return problem === null;
    });
    const reason = problems.length === 0 ? facts.reason : problems.join("; ");
    const cgroup = new Cgroup({ ...facts, controllers, reason }, clock);
    const removed = await cgroup.removeStale();
    if (removed > 0) log?.info("removed control groups of an earlier agent", { removed });
    if (problems.length > 0) log?.warn("some limits are not held by control groups", { reason });
    return { facts: cgroup.facts, cgroup };
  } catch (error) {
    const reason = `cannot use ${facts.folder}: ${messageOf(error)}`;
    log?.warn("limits are not held by control groups", { reason });
    return { facts: { kind: "none", reason }, cgroup: null };
  }
}

/** A group with limits below it may hold no processes itself: all go into `agent`. */
function moveAgent(folder: string): void {
  const target = join(folder, AGENT_GROUP, "cgroup.procs");
  for (let round = 0; round < MOVE_ROUNDS; round++) {
    const pids = readFileSync(join(folder, "cgroup.procs"), "utf8").split("\n").filter(Boolean);
    if (pids.length === 0) return;
    for (const pid of pids) {
      try {
        writeFileSync(target, pid);
      } catch (error) {
        // One that has just ended is no obstacle.
        if (systemCode(error) !== "ESRCH") throw error;
      }
    }
  }
}

/** Switches a controller on for the groups below `folder`; null, or why it stays off. */
function enable(folder: string, controller: Controller): string | null {
  for (let round = 0; ; round++) {
    try {
      writeFileSync(join(folder, "cgroup.subtree_control"), `+${controller}`);
      return null;
    } catch (error) {
      const code = systemCode(error);
      if (code === "EBUSY" && round < MOVE_ROUNDS) {
        moveAgent(folder.endsWith(`/${WORKERS_GROUP}`) ? join(folder, "..") : folder);
        continue;
      }
      return `${controller}: ${whyNot(code, folder) ?? messageOf(error)}`;
    }
  }
}

function whyNot(code: string | undefined, folder: string): string | undefined {
  if (code === "EBUSY") return `${folder} is busy: processes keep appearing in it`;
  if (code === "ENOENT") return "this kernel or the groups above do not offer the controller";
  if (code === "EACCES" || code === "EPERM")
    return `${folder} may not be changed: it was not delegated with this controller`;
  return undefined;
}
