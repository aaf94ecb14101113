import { HoldfastError } from "../../core/errors.ts";
import type { Grant } from "../../model/grant.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import { fitsAny, pluginNamespace } from "../../model/namespace.ts";
import type { HeldSecrets, SecretPort } from "./secret-port.ts";

/** What of a setting with secrets in it is enough to decide where its worker may connect to. */
interface Filled {
  /** As the worker is told them. */
  settings: JsonObject;
  /** As the grant is decided: of a secret nothing but the origin of an address; any other counts as not set. */
  forGrant: JsonObject;
  held: HeldSecrets;
}

const SECRET = /\$\{\{\s*secrets\.([a-zA-Z_]\w*)\s*\}\}/g;

/**
 * Settings of a trigger or an output with `${{ secrets.NAME }}` of the plugin's own namespace in its place; null when there is none.
 * Throws `denied` for a name that was not granted, and what `open` throws.
 */
export function withSecrets(
  settings: JsonObject,
  { plugin, grant, secrets }: { plugin: string; grant: Grant; secrets: SecretPort | undefined },
): Filled | null {
  if (!JSON.stringify(settings).includes("${{")) return null;
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
  const filled = (text: string) => text.replace(SECRET, (_all, name: string) => valueOf(name));
  return {
    settings: eachText(settings, filled) as JsonObject,
    held: heldIn(settings),
    forGrant: eachText(settings, (text) => originOf(text, filled(text))) as JsonObject,
  };
}

function heldIn(settings: JsonObject): HeldSecrets {
  const names = (value: Json) => [...JSON.stringify(value).matchAll(SECRET)].map(([, name]) => name!);
  const all = Object.entries(settings).map(([key, value]) => [key, names(value)] as const);
  return Object.fromEntries(all.filter(([, found]) => found.length > 0));
}

function originOf(written: string, filled: string): string {
  if (written === filled) return written;
  const url = URL.parse(filled);
  return url !== null && /^https?:$/.test(url.protocol) ? `${url.origin}/` : written;
}

function eachText(value: Json, change: (text: string) => string): Json {
  if (typeof value === "string") return change(value);
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value)) return value.map((item) => eachText(item, change));
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, eachText(item, change)]));
}
