import { nearest } from "../../core/nearest.ts";
import { configSchema } from "../../model/config.ts";
import type { ConfigProblem } from "../../model/config-problem.ts";
import {
  child,
  type ConfigNode,
  emptyMap,
  formatPath,
  type ListNode,
  type MapNode,
  type Path,
  textOf,
} from "./node.ts";

/** Lists whose items have a name: a later layer replaces an item as a whole. */
const NAMED_LISTS: ReadonlySet<string> = new Set([
  "triggers",
  "rules",
  "schedules",
  "maintenance",
  "outputs",
]);
/** Maps whose members are replaced as a whole. */
const NAMED_MAPS: ReadonlySet<string> = new Set(["pipelines"]);

/**
 * Puts `layer` over `base`: maps merge deep; triggers, rules and outputs by `name` and pipelines by key, the whole item
 * each; `remove: true` deletes it; anything else is replaced. An empty section says nothing.
 */
export function mergeLayer(base: MapNode, layer: MapNode): { root: MapNode; problems: ConfigProblem[] } {
  const problems: ConfigProblem[] = [];
  const entries = new Map(base.entries);
  for (const [key, { key: origin, value }] of layer.entries) {
    if (value.kind === "scalar" && value.value === null) {
      if (!entries.has(key) && !Object.hasOwn(configSchema.entries, key))
        entries.set(key, { key: origin, value });
      continue;
    }
    const before = entries.get(key)?.value;
    entries.set(key, { key: origin, value: mergeSection(key, before, value, problems) });
  }
  return { root: { ...base, entries }, problems };
}

function mergeSection(
  key: string,
  before: ConfigNode | undefined,
  value: ConfigNode,
  problems: ConfigProblem[],
): ConfigNode {
  if (NAMED_LISTS.has(key) && value.kind === "list") {
    const base: ListNode =
      before?.kind === "list" ? before : { kind: "list", origin: value.origin, items: [] };
    return mergeNamedList(key, base, value, problems);
  }
  if (NAMED_MAPS.has(key) && value.kind === "map") {
    const base = before?.kind === "map" ? before : emptyMap(value.origin);
    return mergeNamedMap(key, base, value, problems);
  }
  return before === undefined ? value : mergeDeep(before, value);
}

function mergeDeep(before: ConfigNode, value: ConfigNode): ConfigNode {
  if (before.kind !== "map" || value.kind !== "map") return value;
  const entries = new Map(before.entries);
  for (const [key, entry] of value.entries) {
    const old = entries.get(key)?.value;
    entries.set(key, old === undefined ? entry : { ...entry, value: mergeDeep(old, entry.value) });
  }
  return { ...before, entries };
}

function mergeNamedList(
  section: string,
  base: ListNode,
  layer: ListNode,
  problems: ConfigProblem[],
): ListNode {
  const nameOf = (item: ConfigNode) => textOf(child(item, "name"));
  // Items of this same layer are not replaced: two of one name are a mistake, which validation reports.
  const places = new Map(base.items.map((item, index) => [nameOf(item), index]));
  const items: (ConfigNode | null)[] = [...base.items];
  for (const [index, item] of layer.items.entries()) {
    const name = nameOf(item);
    const place = name === undefined ? undefined : places.get(name);
    if (removes(item)) {
      if (place === undefined) problems.push(nothingToRemove(item, [section, index], name, places.keys()));
      else items[place] = null;
    } else if (place === undefined) items.push(item);
    else items[place] = item;
    if (name !== undefined) places.delete(name);
  }
  return { ...base, items: items.filter((item) => item !== null) };
}

function mergeNamedMap(section: string, base: MapNode, layer: MapNode, problems: ConfigProblem[]): MapNode {
  const entries = new Map(base.entries);
  for (const [name, entry] of layer.entries) {
    if (!removes(entry.value)) entries.set(name, entry);
    else if (!entries.delete(name))
      problems.push(nothingToRemove(entry.value, [section, name], name, entries.keys()));
  }
  return { ...base, entries };
}

function removes(item: ConfigNode): boolean {
  const flag = child(item, "remove");
  return flag?.kind === "scalar" && flag.value === true;
}

function nothingToRemove(
  item: ConfigNode,
  path: Path,
  name: string | undefined,
  known: Iterable<string | undefined>,
): ConfigProblem {
  const { file, line, column } = item.origin;
  const names = [...known].filter((other) => other !== undefined);
  const suggestion = name === undefined ? undefined : nearest(name, names);
  return {
    file,
    line,
    column,
    path: formatPath(path),
    message:
      name === undefined
        ? "remove: true needs the name of what to remove"
        : `there is no ${JSON.stringify(name)} in an earlier file to remove`,
    ...(suggestion === undefined ? {} : { suggestion }),
  };
}
