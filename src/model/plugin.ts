import type { Effect } from "./pipeline.ts";
import type { JsonObject } from "./json.ts";
import type { Permissions, ResourcesInput } from "./permissions.ts";

export type PluginKind = "trigger" | "action" | "output";

/** What a plugin declares about itself, known before any of its code runs with rights. */
export interface Manifest {
  name: string;
  kind: PluginKind;
  description: string;
  /** JSON Schema of `with`. */
  settings: JsonObject;
  /** What it asks for; what it gets is decided with its settings and the policy (`decideGrant`). */
  permissions: Permissions;
  resources: ResourcesInput;
  /** Actions only: what an unknown outcome means; absent is at-most-once. */
  effect?: Effect;
}

/** A program in any language (`runtime: exec` in its plugin.yaml). */
export interface ScriptEntry {
  /** Folder of the plugin, absolute. */
  folder: string;
  /** The program in it that is executed, absolute and real. */
  entry: string;
  /** `once`: a process for each call or batch. `lines`: one that stays, with a line of JSON for each request and answer. */
  mode: "once" | "lines";
  /** Triggers only: each line of its output, whatever it is, is an event `line`. */
  plain: boolean;
  /** Actions with a process for each call only: it may add steps with `holdfast call`. */
  calls?: boolean;
  /** It keeps something for itself with `holdfast call state`. */
  state?: boolean;
  /** Fixed variables of its environment. */
  env: Record<string, string>;
}

/**
 * Where a plugin's code is. `shipped` is part of the executable; `file` is an absolute path of a TypeScript or JavaScript
 * module.
 */
export type PluginEntry = { shipped: string } | { file: string } | { script: ScriptEntry };

/** A plugin that the catalog knows. */
export interface CatalogPlugin {
  manifest: Manifest;
  entry: PluginEntry;
}

/** What a plugin may know of its agent. */
export interface AgentFacts {
  id: string;
  labels: Record<string, string>;
  /** The agent's home folder; relative paths in settings are taken from it. */
  home: string;
}
