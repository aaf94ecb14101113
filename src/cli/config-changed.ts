import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import type { AgentHome } from "../agent/config/home.ts";
import { policyFiles } from "../agent/config/policy.ts";

/**
 * An agent reads its configuration and policy as it starts. Says which of these files were changed since, so that nobody
 * wonders why a change does nothing; null when none was.
 */
export function changedSince(home: AgentHome, startedMs: number): string | null {
  const files = [home.configFile, ...additions(home.confDir), ...policyFiles(home)];
  const changed = files.filter((file) => changedMs(file) > startedMs);
  if (changed.length === 0) return null;
  const were = changed.length === 1 ? "was" : "were";
  return `${changed.join(", ")} ${were} changed after agent ${home.id} started: restart the agent to use what is there now`;
}

function additions(folder: string): string[] {
  try {
    const names = readdirSync(folder).filter((name) => name.endsWith(".yaml"));
    return names.toSorted().map((name) => join(folder, name));
  } catch {
    return [];
  }
}

function changedMs(file: string): number {
  try {
    return statSync(file).mtimeMs;
  } catch {
    return 0;
  }
}
