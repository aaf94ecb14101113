import { HoldfastError } from "../../core/errors.ts";
import type { Grant } from "../../model/grant.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import { fitsAny, pluginNamespace } from "../../model/namespace.ts";
import type { SecretPort } from "./secret-port.ts";

const SECRET = /\$\{\{\s*secrets\.([a-zA-Z_]\w*)\s*\}\}/g;

/**
 * Settings of a trigger or an output as its worker is told them: `${{ secrets.NAME }}` of the plugin's own namespace in its
 * place. Throws `denied` for a name that was not granted, and what `open` throws.
 */
export function withSecrets(
  settings: JsonObject,
  { plugin, grant, secrets }: { plugin: string; grant: Grant; secrets: SecretPort | undefined },
): JsonObject {
  if (!JSON.stringify(settings).includes("${{")) return settings;
  const namespace = pluginNamespace(plugin, grant.namespaces);
  const valueOf = (name: string): string => {
    if (!fitsAny(name, grant.secrets))
      throw new HoldfastError(
        "denied",
        `denied: secret ${name} for plugin ${plugin}: add it to permissions.secrets of its manifest, and to the policy`,
      );
    if (!secrets) throw new HoldfastError("failed", "this program has no secrets");
    return secrets.open(namespace, name);
  };
  const filled = (value: Json): Json => {
    if (typeof value === "string") return value.replace(SECRET, (_all, name: string) => valueOf(name));
    if (value === null || typeof value !== "object") return value;
    if (Array.isArray(value)) return value.map(filled);
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, filled(item)]));
  };
  return filled(settings) as JsonObject;
}
