import { type CommandDef, defineCommand } from "citty";
import * as v from "valibot";
import { isDuration, parseDuration } from "../core/duration.ts";
import { HoldfastError } from "../core/errors.ts";
import { formatSize } from "../core/size.ts";
import { DEFAULT_NAMESPACE } from "../model/namespace.ts";
import { agentCommand } from "./agent-command.ts";
import { givenNamespace, givenValue } from "./given-value.ts";
import { printList } from "./pages.ts";
import { age } from "./show-time.ts";
import { getCommand, removeCommand, type SharedKind, sharedArguments, sharedPath } from "./shared-value.ts";
import { wholeNumber } from "./strict-args.ts";
import { table } from "./table.ts";

const MEMORY: SharedKind<"key"> = {
  path: "memory",
  key: "key",
  keyText: "Key of the value",
  namespace: {
    type: "string",
    valueHint: "NAME",
    default: DEFAULT_NAMESPACE,
    description: "Namespace that the value is shared in",
  },
};

const itemSchema = v.looseObject({
  namespace: v.string(),
  key: v.string(),
  version: v.number(),
  bytes: v.number(),
  changedAt: v.string(),
  expiresAt: v.nullable(v.string()),
});
const pageSchema = v.looseObject({ items: v.array(itemSchema), next: v.nullable(v.string()) });

const get = getCommand(MEMORY, {
  description: "Print a value of the memory that plugins share, as JSON; --json tells more of it",
  example: "holdfast memory get restarts --namespace web",
});

const set = agentCommand({
  name: "set",
  description:
    "Set a value of the memory: JSON where it is JSON, else a text. Whoever has it checked out is told, and overwrites nothing",
  example: "holdfast memory set restarts 0 --namespace web",
  args: {
    ...sharedArguments(MEMORY),
    value: { type: "positional", required: true, description: "JSON, or a text" },
    ttl: { type: "string", valueHint: "DURATION", description: "The value is gone after this time" },
    text: { type: "boolean", description: "The value is a text, also when it looks like JSON" },
  },
  async run({ client, out, json }, args) {
    if (args.ttl !== undefined && !(isDuration(args.ttl) && parseDuration(args.ttl) > 0))
      throw new HoldfastError("usage", `--ttl must be a duration, like 30s or 1h, not "${args.ttl}"`);
    const value = givenValue(args.value, args.text ?? false);
    const ttlMs = args.ttl === undefined ? null : parseDuration(args.ttl);
    const path = sharedPath(MEMORY, args.key, args.namespace);
    const at = await client.ask("PUT", path, v.looseObject({}), { value, ttlMs });
    await out.line(json ? JSON.stringify(at) : `${args.key} of namespace ${args.namespace} is set.`);
  },
});

const list = agentCommand({
  name: "list",
  description: "List the keys of the memory that plugins share",
  example: "holdfast memory list --namespace web",
  args: {
    namespace: { ...MEMORY.namespace, default: undefined, description: "Of this namespace only" },
    prefix: { type: "string", valueHint: "TEXT", description: "Keys that begin with this" },
    limit: { type: "string", valueHint: "N", description: "At most so many" },
  },
  async run(context, args) {
    const namespace = args.namespace === undefined ? undefined : givenNamespace(args.namespace);
    const nowMs = context.clock.wall();
    await printList(context, {
      fetch: ({ cursor, limit }) => {
        const given = { namespace, prefix: args.prefix, after: cursor, limit };
        return context.client.ask("GET", `/v1/memory${queryOf(given)}`, pageSchema);
      },
      filter: {},
      limit: wholeNumber("limit", args.limit, 1, 1_000_000),
      none: "the memory has no such key",
      render: (items, header) =>
        table(
          items,
          [
            { title: "NAMESPACE", value: (row) => row.namespace, shrinkTo: 10 },
            { title: "KEY", value: (row) => row.key, shrinkTo: 16 },
            { title: "SIZE", value: (row) => formatSize(row.bytes) },
            { title: "CHANGED", value: (row) => age(row.changedAt, nowMs) },
            { title: "EXPIRES", value: (row) => (row.expiresAt === null ? "" : age(row.expiresAt, nowMs)) },
          ],
          { ...context.out, header },
        ),
    });
  },
});

const remove = removeCommand(MEMORY, {
  description: "Remove a value from the memory",
  example: "holdfast memory remove restarts --namespace web",
  removed: (key, namespace) => `${key} of namespace ${namespace} is removed.`,
});

function queryOf(fields: Record<string, string | number | undefined>): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(fields))
    if (value !== undefined) parameters.set(name, String(value));
  return `?${parameters.toString()}`;
}

export const memory: CommandDef<any> = defineCommand({
  meta: {
    name: "memory",
    description: "What the plugins of the agent on this host remember\n\nExample: holdfast memory list",
  },
  subCommands: { get, set, list, remove },
});
