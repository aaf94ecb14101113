import { isSecretName } from "../../../core/mask.ts";
import type { Grant } from "../../../model/grant.ts";
import type { Json, JsonObject } from "../../../model/json.ts";
import type { AgentFacts, ScriptEntry } from "../../../model/plugin.ts";

/** The kernel refuses a program whose environment is too large; longer values are on stdin only. */
const MAX_VALUE = 16 * 1024;
const MAX_INPUTS_BYTES = 256 * 1024;
const MAX_INPUTS = 100;

export interface EnvironmentParts {
  script: ScriptEntry;
  grant: Grant;
  agent: AgentFacts;
  /** Name of the trigger or output in the configuration, or of the action. */
  part: string;
  settings: JsonObject;
  hostEnv: Record<string, string | undefined>;
  /** Without the prefix HOLDFAST_. */
  call?: Record<string, string | number>;
  /** True for a text with a secret in it, which no environment holds. */
  isSecret?: (text: string) => boolean;
}

/** What a script is told besides the base that every worker has. Nothing of the agent's own environment but what is granted. */
export function scriptEnvironment(parts: EnvironmentParts): Record<string, string> {
  const { script, grant, agent, part, settings, hostEnv, call = {}, isSecret = () => false } = parts;
  const env: Record<string, string> = {};
  for (const name of grant.env) {
    const value = hostEnv[name];
    if (value !== undefined) env[name] = value;
  }
  Object.assign(env, script.env, inputVariables(settings, isSecret), {
    HOLDFAST_AGENT: agent.id,
    HOLDFAST_HOME: agent.home,
    HOLDFAST_NAME: part,
    HOLDFAST_PLUGIN_DIR: script.folder,
  });
  for (const [name, value] of Object.entries(call)) env[`HOLDFAST_${name}`] = String(value);
  return env;
}

/**
 * `path` → HOLDFAST_INPUT_PATH, for texts, numbers and booleans; lists and maps as JSON. Never what is named like a secret:
 * other processes of the same user may read an environment.
 */
function inputVariables(settings: JsonObject, isSecret: (text: string) => boolean): Record<string, string> {
  const variables: Record<string, string> = {};
  let bytes = 0;
  for (const [name, value] of Object.entries(settings).slice(0, MAX_INPUTS)) {
    if (value === null || isSecretName(name)) continue;
    const text = typeof value === "object" ? shownJson(value) : String(value);
    if (text === undefined || isSecret(text)) continue;
    const size = Buffer.byteLength(text);
    if (size > MAX_VALUE || bytes + size > MAX_INPUTS_BYTES || text.includes("\0")) continue;
    bytes += size;
    variables[`HOLDFAST_INPUT_${name.toUpperCase().replace(/\W/g, "_").slice(0, 100)}`] = text;
  }
  return variables;
}

/** Undefined for a list or map that holds something named like a secret. */
function shownJson(value: Json): string | undefined {
  let secret = false;
  const text = JSON.stringify(value, (key, inner: unknown) => {
    if (isSecretName(key)) secret = true;
    return inner;
  });
  return secret ? undefined : text;
}
