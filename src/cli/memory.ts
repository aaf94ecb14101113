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
import { wholeNumber } from "./strict-args.ts";
import { table } from "./table.ts";

const KEY = { type: "positional", required: true, description: "Key of the value" } as const;
const NAMESPACE = {
  type: "string",
  valueHint: "NAME",
  default: DEFAULT_NAMESPACE,
  description: "Namespace that the value is shared in",
} as const;

const itemSchema = v.looseObject({
  namespace: v.string(),
  key: v.string(),
  version: v.number(),
  bytes: v.number(),
  changedAt: v.string(),
  expiresAt: v.nullable(v.string()),
});
const pageSchema = v.looseObject({ items: v.array(itemSchema), next: v.nullable(v.string()) });
const entrySchema = v.looseObject({ value: v.any() });

function pathOf(namespace: string, key: string): string {
  return `/v1/memory/${encodeURIComponent(key)}?namespace=${encodeURIComponent(givenNamespace(namespace))}`;
}

const get = agentCommand({
  name: "get",
  description: "Print a value of the memory that plugins share, as JSON; --json tells more of it",
  example: "holdfast memory get restarts --namespace web",
  args: { key: KEY, namespace: NAMESPACE },
  async run({ client, out, json }, args) {
    const entry = await client.ask("GET", pathOf(args.namespace, args.key), entrySchema);
    await out.line(JSON.stringify(json ? entry : entry.value));
  },
});

const set = agentCommand({
  name: "set",
  description:
    "Set a value of the memory: JSON where it is JSON, else a text. Whoever has it checked out is told, and overwrites nothing",
  example: "holdfast memory set restarts 0 --namespace web",
  args: {
    key: KEY,
    value: { type: "positional", required: true, description: "JSON, or a text" },
    namespace: NAMESPACE,
    ttl: { type: "string", valueHint: "DURATION", description: "The value is gone after this time" },
    text: { type: "boolean", description: "The value is a text, also when it looks like JSON" },
  },
  async run({ client, out, json }, args) {
    if (args.ttl !== undefined && !(isDuration(args.ttl) && parseDuration(args.ttl) > 0))
      throw new HoldfastError("usage", `--ttl must be a duration, like 30s or 1h, not "${args.ttl}"`);
    const value = givenValue(args.value, args.text ?? false);
    const ttlMs = args.ttl === undefined ? null : parseDuration(args.ttl);
    const at = await client.ask("PUT", pathOf(args.namespace, args.key), v.looseObject({}), { value, ttlMs });
    await out.line(json ? JSON.stringify(at) : `${args.key} of namespace ${args.namespace} is set.`);
  },
});

const list = agentCommand({
  name: "list",
  description: "List the keys of the memory that plugins share",
  example: "holdfast memory list --namespace web",
  args: {
    namespace: { ...NAMESPACE, default: undefined, description: "Of this namespace only" },
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

const remove = agentCommand({
  name: "remove",
  description: "Remove a value from the memory",
  example: "holdfast memory remove restarts --namespace web",
  args: { key: KEY, namespace: NAMESPACE },
  async run({ client, out, json }, args) {
    const at = await client.ask("DELETE", pathOf(args.namespace, args.key), v.looseObject({}));
    await out.line(json ? JSON.stringify(at) : `${args.key} of namespace ${args.namespace} is removed.`);
  },
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
