import { type CommandDef, defineCommand } from "citty";
import * as v from "valibot";
import { HoldfastError } from "../core/errors.ts";
import { agentCommand } from "./agent-command.ts";
import { givenNamespace } from "./given-value.ts";
import { readSecret } from "./read-secret.ts";
import { age } from "./show-time.ts";
import { table } from "./table.ts";

const NAME = { type: "positional", required: true, description: "Name of the secret" } as const;
const NAMESPACE = {
  type: "string",
  valueHint: "NAME",
  description: "For this namespace only; without it for all",
} as const;

const listSchema = v.looseObject({
  items: v.array(
    v.looseObject({
      namespace: v.nullable(v.string()),
      name: v.string(),
      changedAt: v.string(),
      changedBy: v.string(),
      readable: v.boolean(),
    }),
  ),
  problem: v.nullable(v.string()),
});

function pathOf(name: string, namespace: string | undefined): string {
  const query = namespace === undefined ? "" : `?namespace=${encodeURIComponent(givenNamespace(namespace))}`;
  return `/v1/secrets/${encodeURIComponent(name)}${query}`;
}

const placeText = (namespace: string | undefined) =>
  namespace === undefined ? "for all namespaces" : `for namespace ${namespace}`;

const set = agentCommand({
  name: "set",
  description:
    "Set a secret: its value is read from standard input, or asked for on a terminal without showing it; never from the command line",
  example: "holdfast secret set API_TOKEN --namespace web < token.txt",
  args: { name: NAME, namespace: NAMESPACE },
  async run({ client, out, json }, args) {
    const path = pathOf(args.name, args.namespace);
    const value = await readSecret(`Value of ${args.name}? `);
    if (value === "")
      throw new HoldfastError("usage", `secret ${args.name} was not set: standard input is empty`);
    const at = await client.ask("PUT", path, v.looseObject({}), { value });
    await out.line(json ? JSON.stringify(at) : `Secret ${args.name} is set ${placeText(args.namespace)}.`);
  },
});

const list = agentCommand({
  name: "list",
  description: "List the names of the secrets; their values are never shown",
  example: "holdfast secret list",
  args: {},
  async run({ client, out, json, clock, note }) {
    const { items, problem } = await client.ask("GET", "/v1/secrets", listSchema);
    if (json) return out.line(JSON.stringify({ items, next: null, problem }));
    if (problem !== null) note(problem);
    if (items.length === 0) return note("there are no secrets");
    const nowMs = clock.wall();
    const lines = table(
      items,
      [
        { title: "NAME", value: (row) => row.name },
        { title: "NAMESPACE", value: (row) => row.namespace ?? "all" },
        { title: "SET", value: (row) => `${age(row.changedAt, nowMs)} by ${row.changedBy}` },
        { title: "STATE", value: (row) => (row.readable ? "ok" : "its key is lost: set it again") },
      ],
      out,
    );
    for (const line of lines) await out.line(line);
  },
});

const remove = agentCommand({
  name: "remove",
  description: "Remove a secret",
  example: "holdfast secret remove API_TOKEN --namespace web",
  args: { name: NAME, namespace: NAMESPACE },
  async run({ client, out, json }, args) {
    const at = await client.ask("DELETE", pathOf(args.name, args.namespace), v.looseObject({}));
    await out.line(
      json ? JSON.stringify(at) : `Secret ${args.name} is removed ${placeText(args.namespace)}.`,
    );
  },
});

const rotate = agentCommand({
  name: "rotate",
  description: "Seal all secrets anew, under a new data key and the master key that is preferred now",
  example: "holdfast secret rotate",
  args: {},
  async run({ client, out, json }) {
    const schema = v.looseObject({ sealed: v.number() });
    const { sealed } = await client.ask("POST", "/v1/rotate-secrets", schema);
    await out.line(json ? JSON.stringify({ sealed }) : `${sealed} secrets are sealed under a new key.`);
  },
});

export const secret: CommandDef<any> = defineCommand({
  meta: {
    name: "secret",
    description: "Secrets of the agent on this host\n\nExample: holdfast secret list",
  },
  subCommands: { set, list, remove, rotate },
});
