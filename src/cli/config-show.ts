import { type ArgsDef, defineCommand } from "citty";
import { Document, isMap, isSeq, type Node, Scalar } from "yaml";
import { requireConfig } from "../agent/config/load.ts";
import { formatPath, type Path } from "../agent/config/node.ts";
import { type LeafSource, maskConfig } from "../agent/config/sources.ts";
import type { Json } from "../model/json.ts";
import { loadForCli } from "./config-load.ts";
import { HOME_ARGS } from "./home-args.ts";
import { standardOutput } from "./output.ts";
import { plainText } from "./plain-text.ts";
import { checkArguments } from "./strict-args.ts";

const args = {
  file: {
    type: "positional",
    required: false,
    description: "File to show on its own; without it, all that an agent reads",
  },
  ...HOME_ARGS,
  sources: { type: "boolean", description: "Say where each value comes from" },
  json: { type: "boolean", description: "Print JSON" },
} as const satisfies ArgsDef;

export const show = defineCommand({
  meta: {
    name: "show",
    description:
      "Print the effective configuration, defaults included and secrets masked\n\nExample: holdfast config show --sources --id web-01",
  },
  args,
  async run(context) {
    checkArguments(args, context.args);
    const { file, home, id, sources: withSources, json } = context.args;
    const loaded = await loadForCli({ file, home, id });
    const shown = maskConfig(requireConfig(loaded), loaded.sources);
    const out = standardOutput(process.env);
    if (json) {
      const sources = Object.fromEntries([...loaded.sources].map(([path, { source }]) => [path, source]));
      await out.line(JSON.stringify(withSources ? { config: shown, sources } : shown));
    } else await out.write(plainText(yamlText(shown, withSources ? loaded.sources : null)));
  },
});

/** The library puts a comment of an empty collection on a line of its own: it is written as one word until the end. */
const EMPTY = { map: "__holdfast_empty_map__", list: "__holdfast_empty_list__" };

/** YAML, with the source of each leaf as a comment behind it when asked for. */
function yamlText(value: Json, sources: Map<string, LeafSource> | null): string {
  const document = new Document(value);
  if (sources !== null) comment(document.contents as Node, [], sources);
  return document.toString({ lineWidth: 0 }).replaceAll(EMPTY.map, "{}").replaceAll(EMPTY.list, "[]");
}

/** The node with its comments; another one for an empty collection. */
function comment(node: Node, path: Path, sources: Map<string, LeafSource>): Node {
  if (isMap<Scalar<string>, Node>(node) && node.items.length > 0) {
    for (const pair of node.items) pair.value = comment(pair.value!, [...path, pair.key.value], sources);
    return node;
  }
  if (isSeq<Node>(node) && node.items.length > 0) {
    node.items = node.items.map((item, index) => comment(item, [...path, index], sources));
    return node;
  }
  const leaf = isMap(node) ? new Scalar(EMPTY.map) : isSeq(node) ? new Scalar(EMPTY.list) : node;
  const source = sources.get(formatPath(path))?.source;
  if (source !== undefined) leaf.comment = ` ${source}`;
  return leaf;
}
