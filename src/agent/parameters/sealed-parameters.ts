import type { Json } from "../../model/json.ts";
import type { SetParameter } from "../../model/shared-parameter.ts";
import type { ParameterStorePort } from "./parameters.ts";

/** Seals what the store must not show; see src/agent/secrets/secrets.ts. `holder` names parameters of one namespace. */
export interface ParameterSecretsPort {
  openExact(holder: string, name: string): string | null;
  set(wanted: { namespace: string; name: string; value: string; changedBy: string }): Promise<void>;
  remove(holder: string, name: string): Promise<boolean>;
}

const HIDDEN = "***";

/** The store of parameters, in which the values of secret ones lie sealed among the secrets. */
export function sealedParameters(
  store: ParameterStorePort,
  secrets: ParameterSecretsPort,
): ParameterStorePort {
  return {
    async parameters() {
      const rows = await store.parameters();
      return rows.flatMap((row): SetParameter[] => {
        if (!row.secret) return [row];
        // One whose key is lost is told of with the secrets; to a run it is as if it were not set.
        const text = secrets.openExact(holderOf(row.namespace), row.name);
        return text === null ? [] : [{ ...row, value: JSON.parse(text) as Json }];
      });
    },
    async setParameter(parameter) {
      const { namespace, name, value, secret, changedBy } = parameter;
      const holder = holderOf(namespace);
      if (!secret) {
        await store.setParameter(parameter);
        return void (await secrets.remove(holder, name));
      }
      await secrets.set({ namespace: holder, name, value: JSON.stringify(value), changedBy });
      await store.setParameter({ ...parameter, value: HIDDEN });
    },
    async removeParameter(namespace, name) {
      const removed = await store.removeParameter(namespace, name);
      await secrets.remove(holderOf(namespace), name);
      return removed;
    },
  };
}

/** No namespace has a space in it. */
function holderOf(namespace: string | null): string {
  return `parameters of ${namespace ?? "all"}${namespace === null ? " namespaces" : ""}`;
}
