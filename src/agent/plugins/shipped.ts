import type { PluginKind } from "../../model/plugin.ts";

export interface ShippedPlugin {
  kind: PluginKind;
  name: string;
  load: () => Promise<unknown>;
}

/** The plugins that are part of the executable. A plugin host imports this table alone, and loads one entry of it. */
export const SHIPPED: readonly ShippedPlugin[] = [
  { kind: "trigger", name: "file-tail", load: () => import("../../../plugins/file-tail/plugin.ts") },
  { kind: "trigger", name: "interval", load: () => import("../../../plugins/interval/plugin.ts") },
  { kind: "trigger", name: "http-probe", load: () => import("../../../plugins/http-probe/plugin.ts") },
  { kind: "trigger", name: "disk", load: () => import("../../../plugins/disk/plugin.ts") },
  { kind: "trigger", name: "webhook", load: () => import("../../../plugins/webhook/plugin.ts") },
  { kind: "action", name: "exec", load: () => import("../../../plugins/exec/plugin.ts") },
  { kind: "action", name: "file", load: () => import("../../../plugins/file-action/plugin.ts") },
  { kind: "action", name: "http", load: () => import("../../../plugins/http/plugin.ts") },
  { kind: "output", name: "file", load: () => import("../../../plugins/file-output/plugin.ts") },
];

/** The id in a `{ shipped }` entry: an action and an output may have the same name. */
export function shippedId(kind: PluginKind, name: string): string {
  return `${kind}/${name}`;
}

/** Loads a shipped plugin's module; undefined when there is none with this id. */
export async function loadShipped(id: string): Promise<unknown> {
  return await SHIPPED.find((plugin) => shippedId(plugin.kind, plugin.name) === id)?.load();
}
