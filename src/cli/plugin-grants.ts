import type { AgentHome } from "../agent/config/home.ts";
import { type LoadedPolicy, loadPolicy, policyFiles } from "../agent/config/policy.ts";
import { protectedPlaces, realPlace } from "../agent/config/policy-places.ts";
import type { GrantDecision } from "../model/grant.ts";
import { decideGrant } from "../model/grant-decision.ts";
import type { JsonObject } from "../model/json.ts";
import type { Permissions } from "../model/permissions.ts";
import type { CatalogPlugin, Manifest } from "../model/plugin.ts";

/** What plugins get on this host, by the policy of an agent. */
export interface HostGrants {
  policy: LoadedPolicy;
  decide(plugin: CatalogPlugin, settings: JsonObject): GrantDecision;
}

/** `canHide`: this host can cover places inside a granted folder (mount namespaces); assumed when absent. */
export async function openGrants(home: AgentHome, canHide = true): Promise<HostGrants> {
  const loaded = await loadPolicy(policyFiles(home));
  const places = protectedPlaces(home, process.execPath);
  const always = new WeakMap<Manifest, GrantDecision>();
  return {
    policy: loaded,
    decide({ manifest }, settings) {
      if (loaded.policy === null) return { kind: "refused", reasons: [loaded.problem!] };
      const known = always.get(manifest);
      if (known) return known;
      const decision = decideGrant({
        name: manifest.name,
        permissions: manifest.permissions,
        resources: manifest.resources,
        settings,
        settingsSchema: manifest.settings,
        policy: loaded.policy,
        places,
        realpath: realPlace,
        canHide,
      });
      if (isAlwaysTheSame(manifest.permissions)) always.set(manifest, decision);
      return decision;
    },
  };
}

/** It asks for no path, whose links may change, and for nothing that its settings name. */
function isAlwaysTheSame(permissions: Permissions): boolean {
  const { read, write, exec, unix } = permissions;
  if (read.length + write.length + exec.length + unix.length > 0) return false;
  return !Object.values(permissions).some(
    (asked) => Array.isArray(asked) && asked.some((text) => String(text).includes("${")),
  );
}
