import { type CommandDef, defineCommand } from "citty";
import * as v from "valibot";
import { HoldfastError } from "../core/errors.ts";
import { agentCommand } from "./agent-command.ts";
import { readSecret } from "./read-secret.ts";
import { placeText, removeCommand, type SharedKind, sharedArguments, sharedPath } from "./shared-value.ts";
import { age } from "./show-time.ts";
import { table } from "./table.ts";

const SECRET: SharedKind<"name"> = {
  path: "secrets",
  key: "name",
  keyText: "Name of the secret",
  namespace: {
    type: "string",
    valueHint: "NAME",
    description: "For this namespace only; without it for all",
  },
};

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

const set = agentCommand({
  name: "set",
  description:
    "Set a secret: its value is read from standard input, or asked for on a terminal without showing it; never from the command line",
  example: "holdfast secret set API_TOKEN --namespace web < token.txt",
  args: sharedArguments(SECRET),
  async run({ client, out, json }, args) {
    const path = sharedPath(SECRET, args.name, args.namespace);
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

const remove = removeCommand(SECRET, {
  description: "Remove a secret",
  example: "holdfast secret remove API_TOKEN --namespace web",
  removed: (name, namespace) => `Secret ${name} is removed ${placeText(namespace)}.`,
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
