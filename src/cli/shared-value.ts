import * as v from "valibot";
import { agentCommand } from "./agent-command.ts";
import { givenNamespace } from "./given-value.ts";

/** What memory, parameters and secrets have in common: a value has a name, and a namespace or all of them. */
export interface SharedKind<K extends "key" | "name"> {
  /** Of the control socket: `/v1/PATH`. */
  path: string;
  /** Argument that names the value. */
  key: K;
  /** Of that argument, for a person. */
  keyText: string;
  namespace: { type: "string"; valueHint: string; default?: string; description: string };
}

/** `/v1/params/region?namespace=web`. Throws `usage` for a namespace that is none. */
export function sharedPath(kind: { path: string }, name: string, namespace: string | undefined): string {
  const query = namespace === undefined ? "" : `?namespace=${encodeURIComponent(givenNamespace(namespace))}`;
  return `/v1/${kind.path}/${encodeURIComponent(name)}${query}`;
}

/** Where a value counts, for a person. */
export function placeText(namespace: string | undefined): string {
  return namespace === undefined ? "for all namespaces" : `for namespace ${namespace}`;
}

/** Arguments that every command of one value has. */
export function sharedArguments<K extends "key" | "name">(kind: SharedKind<K>) {
  const key = { type: "positional", required: true, description: kind.keyText } as const;
  type Arguments = Record<K, typeof key> & { namespace: SharedKind<K>["namespace"] };
  return { [kind.key]: key, namespace: kind.namespace } as Arguments;
}

interface Verb {
  description: string;
  example: string;
}

/** `get`: the value as JSON; with --json all that the agent tells of it. */
export function getCommand(kind: SharedKind<"key" | "name">, verb: Verb) {
  return agentCommand({
    ...{ name: "get", ...verb, args: sharedArguments(kind) },
    async run({ client, out, json }, args) {
      const path = sharedPath(kind, String(args[kind.key]), args.namespace);
      const entry = await client.ask("GET", path, v.looseObject({ value: v.any() }));
      await out.line(JSON.stringify(json ? entry : entry.value));
    },
  });
}

/** `remove`. `removed`: what is said then. */
export function removeCommand(
  kind: SharedKind<"key" | "name">,
  verb: Verb & { removed: (name: string, namespace: string | undefined) => string },
) {
  const { description, example, removed } = verb;
  return agentCommand({
    ...{ name: "remove", description, example, args: sharedArguments(kind) },
    async run({ client, out, json }, args) {
      const name = String(args[kind.key]);
      const at = await client.ask("DELETE", sharedPath(kind, name, args.namespace), v.looseObject({}));
      await out.line(json ? JSON.stringify(at) : removed(name, args.namespace));
    },
  });
}
