import { type CommandDef, defineCommand } from "citty";
import * as v from "valibot";
import { agentCommand } from "./agent-command.ts";
import { HoldfastError } from "../core/errors.ts";
import type { Json } from "../model/json.ts";
import { readSecret } from "./read-secret.ts";
import { givenNamespace, givenValue } from "./given-value.ts";
import {
  getCommand,
  placeText,
  removeCommand,
  type SharedKind,
  sharedArguments,
  sharedPath,
} from "./shared-value.ts";
import { age } from "./show-time.ts";
import { table } from "./table.ts";

const PARAMETER: SharedKind<"name"> = {
  path: "params",
  key: "name",
  keyText: "Name of the parameter",
  namespace: { type: "string", valueHint: "NAME", description: "Of this namespace; without it for all" },
};

const itemSchema = v.looseObject({
  namespace: v.nullable(v.string()),
  name: v.string(),
  value: v.any(),
  secret: v.boolean(),
  source: v.string(),
  changedAt: v.nullable(v.string()),
  changedBy: v.nullable(v.string()),
});
const listSchema = v.looseObject({ items: v.array(itemSchema) });

const get = getCommand(PARAMETER, {
  description: "Print what a run finds under a parameter's name, as JSON; --json tells more of it",
  example: "holdfast param get region --namespace web",
});

const set = agentCommand({
  name: "set",
  description:
    "Set a parameter on this agent: JSON where it is JSON, else a text. It wins over the configuration's",
  example: "holdfast param set region eu-1 --namespace web",
  args: {
    ...sharedArguments(PARAMETER),
    value: { type: "positional", required: false, description: "JSON, or a text; not with --secret" },
    text: { type: "boolean", description: "The value is a text, also when it looks like JSON" },
    secret: {
      type: "boolean",
      description: "The value, a text, is read from standard input, kept sealed and shown to nobody",
    },
  },
  async run({ client, out, json }, args) {
    const path = sharedPath(PARAMETER, args.name, args.namespace);
    const body = args.secret
      ? { value: await secretValue(args.name, args.value), secret: true }
      : { value: plainValue(args.name, args.value, args.text ?? false) };
    const at = await client.ask("PUT", path, v.looseObject({}), body);
    await out.line(json ? JSON.stringify(at) : `Parameter ${args.name} is set ${placeText(args.namespace)}.`);
  },
});

/** Other users of the host see the command line. */
async function secretValue(name: string, word: string | undefined): Promise<string> {
  if (word !== undefined)
    throw new HoldfastError(
      "usage",
      `parameter ${name} was not set: with --secret its value comes on standard input, not on the command line`,
    );
  const value = await readSecret(`Value of ${name}? `);
  if (value !== "") return value;
  throw new HoldfastError("usage", `parameter ${name} was not set: standard input is empty`);
}

function plainValue(name: string, word: string | undefined, text: boolean): Json {
  if (word !== undefined) return givenValue(word, text);
  throw new HoldfastError("usage", `parameter ${name} was not set: holdfast param set ${name} VALUE`);
}

const list = agentCommand({
  name: "list",
  description:
    "List the parameters that pipelines share; of a namespace what its runs find, with --sources also what is hidden by it",
  example: "holdfast param list --namespace web --sources",
  args: {
    namespace: PARAMETER.namespace,
    sources: { type: "boolean", description: "Every layer, the later one wins" },
  },
  async run({ client, out, json, clock, note }, args) {
    const query = new URLSearchParams();
    if (args.namespace !== undefined) query.set("namespace", givenNamespace(args.namespace));
    if (args.sources) query.set("sources", "true");
    const { items } = await client.ask("GET", `/v1/params?${query.toString()}`, listSchema);
    if (json) return out.line(JSON.stringify({ items, next: null }));
    if (items.length === 0) return note("there are no parameters");
    const nowMs = clock.wall();
    const lines = table(
      items,
      [
        { title: "NAME", value: (row) => row.name, shrinkTo: 12 },
        { title: "VALUE", value: (row) => JSON.stringify(row.value), shrinkTo: 16 },
        { title: "NAMESPACE", value: (row) => row.namespace ?? "all", shrinkTo: 8 },
        { title: "SOURCE", value: (row) => row.source },
        {
          title: "SET",
          value: (row) => (row.changedAt === null ? "" : `${age(row.changedAt, nowMs)} by ${row.changedBy}`),
        },
      ],
      out,
    );
    for (const line of lines) await out.line(line);
  },
});

const remove = removeCommand(PARAMETER, {
  description: "Remove a parameter that was set on this agent; what the configuration says counts again",
  example: "holdfast param remove region --namespace web",
  removed: (name, namespace) => `Parameter ${name} is removed ${placeText(namespace)}.`,
});

export const param: CommandDef<any> = defineCommand({
  meta: {
    name: "param",
    description: "Parameters that pipelines of the agent on this host share\n\nExample: holdfast param list",
  },
  subCommands: { get, set, list, remove },
});
