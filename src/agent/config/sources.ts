import { isSecretName, maskText } from "../../core/mask.ts";
import type { Config } from "../../model/config.ts";
import type { Json } from "../../model/json.ts";
import { type ConfigNode, formatPath, nodeAt, type Path } from "./node.ts";

export interface LeafSource {
  /** `default`, `agent.yaml:3`, `HOLDFAST__LOG__LEVEL`, `--log-level`. */
  source: string;
  /** The value came from a variable that is named like a secret. */
  secret: boolean;
}

/** Where each leaf (a scalar, an empty list or an empty map) of the effective configuration comes from. */
export function sourcesOf(config: Config, root: ConfigNode): Map<string, LeafSource> {
  const sources = new Map<string, LeafSource>();
  walkLeaves(config as unknown as Json, [], (path) => {
    const node = nodeAt(root, path);
    const secret = node?.kind === "scalar" && node.secret === true;
    sources.set(formatPath(path), { source: node?.origin.source ?? "default", secret });
  });
  return sources;
}

function walkLeaves(value: Json, path: Path, visit: (path: Path) => void): void {
  const members: [string | number, Json][] = Array.isArray(value)
    ? value.map((item, index) => [index, item])
    : value !== null && typeof value === "object"
      ? Object.entries(value)
      : [];
  if (members.length === 0) return visit(path);
  for (const [key, item] of members) if (item !== undefined) walkLeaves(item, [...path, key], visit);
}

/** A copy for people's eyes: what is a secret by its name, its look or its variable is `***`. */
export function maskConfig(config: Config, sources: Map<string, LeafSource>): Json {
  const mask = (value: Json, path: Path): Json => {
    const hidden = isSecretName(String(path.at(-1) ?? "")) || sources.get(formatPath(path))?.secret;
    if (hidden && value !== null) return "***";
    if (typeof value === "string") return maskText(value);
    if (Array.isArray(value)) return value.map((item, index) => mask(item, [...path, index]));
    if (value === null || typeof value !== "object") return value;
    const marked = path[0] === "params" && typeof value.secret === "boolean";
    return Object.fromEntries(
      Object.entries(value).map(([key, item]) => {
        if (marked && key === "secret") return [key, item];
        return [key, marked && key === "value" && value.secret ? "***" : mask(item, [...path, key])];
      }),
    );
  };
  return mask(config as unknown as Json, []);
}
