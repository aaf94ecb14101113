import { isSecretName } from "../../../core/mask.ts";
import type { Grant } from "../../../model/grant.ts";
import type { Json, JsonObject } from "../../../model/json.ts";
import { fitsAny } from "../../../model/namespace.ts";
import type { AgentFacts, ScriptEntry } from "../../../model/plugin.ts";
import type { HeldSecrets } from "../secret-port.ts";

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
  /** Settings that hold secrets. */
  held?: HeldSecrets;
  /** True for a text with a secret in it, which no environment holds. */
  isSecret?: (text: string) => boolean;
}

/** What a script is told besides the base that every worker has. Nothing of the agent's own environment but what is granted. */
export function scriptEnvironment(parts: EnvironmentParts): Record<string, string> {
  const {
    script,
    grant,
    agent,
    part,
    settings,
    hostEnv,
    call = {},
    isSecret = () => false,
    held = {},
  } = parts;
  const env: Record<string, string> = {};
  for (const name of grant.env) {
    const value = hostEnv[name];
    if (value !== undefined) env[name] = value;
  }
  Object.assign(env, script.env, inputVariables(settings, { grant, held, isSecret }), {
    HOLDFAST_AGENT: agent.id,
    HOLDFAST_HOME: agent.home,
    HOLDFAST_NAME: part,
    HOLDFAST_PLUGIN_DIR: script.folder,
  });
  for (const [name, value] of Object.entries(call)) env[`HOLDFAST_${name}`] = String(value);
  return env;
}

/**
 * `path` → HOLDFAST_INPUT_PATH, for texts, numbers and booleans; lists and maps as JSON. Never what is named like a secret or
 * holds one, unless it is granted: other processes of the same user may read an environment.
 */
function inputVariables(
  settings: JsonObject,
  { grant, held, isSecret }: Required<Pick<EnvironmentParts, "grant" | "held" | "isSecret">>,
): Record<string, string> {
  const variables: Record<string, string> = {};
  let bytes = 0;
  for (const [name, value] of Object.entries(settings).slice(0, MAX_INPUTS)) {
    if (value === null) continue;
    const names = Object.hasOwn(held, name) ? held[name]! : [];
    const granted = names.length > 0 && names.every((each) => fitsAny(each, grant.secretEnv));
    if (!granted && (names.length > 0 || isSecretName(name))) continue;
    const text =
      typeof value !== "object" ? String(value) : granted ? JSON.stringify(value) : shownJson(value);
    if (text === undefined || (!granted && isSecret(text))) continue;
    const size = Buffer.byteLength(text);
    if (size > MAX_VALUE || bytes + size > MAX_INPUTS_BYTES || text.includes("\0")) continue;
    bytes += size;
    variables[inputVariable(name)] = text;
  }
  return variables;
}

/** Settings that hold secrets, each for a file whose place HOLDFAST_INPUT_<NAME>_FILE tells. */
export function secretFileTexts(settings: JsonObject, held: HeldSecrets): Record<string, string> {
  const texts = Object.keys(held)
    .slice(0, MAX_INPUTS)
    .flatMap((name): [string, string][] => {
      const value = settings[name];
      if (value === undefined || value === null) return [];
      return [[`${inputVariable(name)}_FILE`, typeof value === "string" ? value : JSON.stringify(value)]];
    });
  return Object.fromEntries(texts);
}

function inputVariable(name: string): string {
  return `HOLDFAST_INPUT_${name.toUpperCase().replace(/\W/g, "_").slice(0, 100)}`;
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
