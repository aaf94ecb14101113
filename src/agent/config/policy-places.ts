import { realpathSync, statSync } from "node:fs";
import type { Place } from "../../model/grant-expand.ts";
import type { Places } from "../../model/grant-places.ts";
import { POLICY_FOLDER } from "./policy.ts";
import type { AgentHome } from "./home.ts";

/** Follows every link; null when there is nothing, or nothing that this user may look at. */
export function realPlace(path: string): Place | null {
  try {
    const real = realpathSync(path);
    return { path: real, kind: statSync(real).isDirectory() ? "folder" : "file" };
  } catch {
    return null;
  }
}

/**
 * What no worker of this agent may reach. The cache is among it because it holds the manifests of plugins, and with them
 * what they ask for; `executable` is this program's file.
 */
export function protectedPlaces(home: AgentHome, executable: string): Places {
  const policies = realPlace(POLICY_FOLDER) === null ? [] : [POLICY_FOLDER];
  return {
    home: home.root,
    protectedWrite: [
      home.config,
      home.state,
      home.plugins,
      home.cache,
      home.auditLogs,
      executable,
      ...policies,
    ],
    protectedRead: [home.certificates, home.pluginSettings, home.state],
    protectedUnix: [home.controlSocket],
  };
}
