import type { Json } from "../../model/json.ts";

/** Where a value comes from: a place in a file, a variable or a flag. */
export interface Origin {
  /** As problems name it: the file, `environment` or `command line`. */
  file: string;
  /** 1-based; 0 when there is no place. */
  line: number;
  column: number;
  /** As `config show --sources` names it: `agent.yaml:3`, `HOLDFAST__LOG__LEVEL`, `--log-level`. */
  source: string;
}

export interface MapNode {
  kind: "map";
  origin: Origin;
  entries: Map<string, { key: Origin; value: ConfigNode }>;
}

export interface ListNode {
  kind: "list";
  origin: Origin;
  items: ConfigNode[];
}

export interface ScalarNode {
  kind: "scalar";
  origin: Origin;
  value: string | number | boolean | null;
  /** The text before `${VAR}` was expanded: problems show this, never what a variable held. */
  written?: string;
  /** A variable named like a secret went into it: never shown. */
  secret?: boolean;
}

/** A configuration document whose every value knows where it comes from. Nodes are not changed after they are made. */
export type ConfigNode = MapNode | ListNode | ScalarNode;

export type Path = (string | number)[];

/** `["rules", 0, "when"]` → `rules[0].when`. */
export function formatPath(path: Path): string {
  return path
    .map((part, index) => {
      if (typeof part === "number") return `[${part}]`;
      if (!/^[\w-]+$/.test(part)) return `[${JSON.stringify(part)}]`;
      return index === 0 ? part : `.${part}`;
    })
    .join("");
}

export function toJson(node: ConfigNode): Json {
  switch (node.kind) {
    case "scalar":
      return node.value;
    case "list":
      return node.items.map(toJson);
    case "map":
      return Object.fromEntries([...node.entries].map(([key, entry]) => [key, toJson(entry.value)]));
  }
}

export function child(node: ConfigNode | undefined, part: string | number): ConfigNode | undefined {
  if (node?.kind === "map") return node.entries.get(String(part))?.value;
  if (node?.kind === "list") return node.items[Number(part)];
  return undefined;
}

export function nodeAt(root: ConfigNode, path: Path): ConfigNode | undefined {
  return path.reduce<ConfigNode | undefined>((node, part) => child(node, part), root);
}

/** The place of the key at `path`; of its value for list items; of what surrounds it when it is not there. */
export function keyOrigin(root: ConfigNode, path: Path): Origin {
  let node: ConfigNode = root;
  let origin = root.origin;
  for (const part of path) {
    const entry = node.kind === "map" ? node.entries.get(String(part)) : undefined;
    const next = child(node, part);
    if (next === undefined) break;
    origin = entry?.key ?? next.origin;
    node = next;
  }
  return origin;
}

/** The place of the value at `path`; of its key when nothing is written there; of what surrounds it when it is not there. */
export function valueOrigin(root: ConfigNode, path: Path): Origin {
  const node = nodeAt(root, path);
  if (node === undefined) {
    for (let length = path.length - 1; length >= 0; length--) {
      const around = nodeAt(root, path.slice(0, length));
      if (around !== undefined) return around.origin;
    }
  }
  const empty = node?.kind === "scalar" && node.value === null;
  return node === undefined || empty ? keyOrigin(root, path) : node.origin;
}

export function textOf(node: ConfigNode | undefined): string | undefined {
  return node?.kind === "scalar" && typeof node.value === "string" ? node.value : undefined;
}

export function itemsOf(node: ConfigNode | undefined): ConfigNode[] {
  return node?.kind === "list" ? node.items : [];
}

export function entriesOf(node: ConfigNode | undefined): [string, ConfigNode][] {
  return node?.kind === "map" ? [...node.entries].map(([key, entry]) => [key, entry.value]) : [];
}

export function emptyMap(origin: Origin): MapNode {
  return { kind: "map", origin, entries: new Map() };
}
