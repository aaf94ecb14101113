import { closeSync, existsSync, mkdirSync, openSync, realpathSync, statSync } from "node:fs";
import { systemCode } from "../../core/errors.ts";
import type { MissingPlace } from "../../model/grant.ts";
import type { Place } from "../../model/grant-expand.ts";
import type { Places } from "../../model/grant-places.ts";
import { secretFilesFolder } from "../../model/secret.ts";
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
    // The key of the secrets is made with the first of them: from then on no worker starts that could read it.
    get protectedRead() {
      const secrets = [home.secretsKey, home.secretsSalt, secretFilesFolder(home.workdir)];
      const there = secrets.filter((path) => existsSync(path));
      return [home.certificates, home.pluginSettings, home.state, ...there];
    },
    protectedUnix: [home.controlSocket],
  };
}

/** Makes what a grant may write and what is not there yet. Throws the system's error; what is there meanwhile stays. */
export function makeMissing(places: MissingPlace[]): void {
  for (const { path, kind } of places) {
    if (kind === "folder") mkdirSync(path, { recursive: true, mode: 0o750 });
    else makeFile(path);
  }
}

function makeFile(path: string): void {
  try {
    // Never through a link that somebody has put there.
    closeSync(openSync(path, "wx", 0o640));
  } catch (error) {
    if (systemCode(error) !== "EEXIST") throw error;
  }
}
