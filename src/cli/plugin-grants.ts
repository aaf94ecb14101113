import type { AgentHome } from "../agent/config/home.ts";
import { type LoadedPolicy, loadPolicy, policyFiles } from "../agent/config/policy.ts";
import { protectedPlaces, realPlace } from "../agent/config/policy-places.ts";
import type { GrantDecision } from "../model/grant.ts";
import { decideGrant } from "../model/grant-decision.ts";
import type { JsonObject } from "../model/json.ts";
import type { CatalogPlugin } from "../model/plugin.ts";

/** What plugins get on this host, by the policy of an agent. */
export interface HostGrants {
  policy: LoadedPolicy;
  decide(plugin: CatalogPlugin, settings: JsonObject): GrantDecision;
}

/** `canHide`: this host can cover places inside a granted folder (mount namespaces); assumed when absent. */
export async function openGrants(home: AgentHome, canHide = true): Promise<HostGrants> {
  const loaded = await loadPolicy(policyFiles(home));
  const places = protectedPlaces(home, process.execPath);
  return {
    policy: loaded,
    decide({ manifest }, settings) {
      if (loaded.policy === null) return { kind: "refused", reasons: [loaded.problem!] };
      return decideGrant({
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
    },
  };
}
