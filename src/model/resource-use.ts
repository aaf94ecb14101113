/** What `limits` of the configuration hold the agent and its workers to as a whole. */
export const RESOURCE_NAMES = ["memory", "cpu", "disk"] as const;
export type ResourceName = (typeof RESOURCE_NAMES)[number];

/** Memory and disk in bytes, cpu in cores. */
export type Amounts = Record<ResourceName, number>;

/** `warning` from four fifths of the limit on, `over` above it; both are left a little below where they are entered. */
export type ResourceLevel = "ok" | "warning" | "over";

export interface ResourceUse {
  used: number;
  limit: number;
  level: ResourceLevel;
  /** What is done about it, while something is. */
  reaction?: string;
}

export type ResourceUses = Record<ResourceName, ResourceUse>;

const MB = 1024 ** 2;

/** `memory: 812 MB used, 1024 MB allowed; idle workers of actions were stopped`. */
export function resourceText(name: ResourceName, { used, limit, reaction }: ResourceUse): string {
  const why = reaction === undefined ? "" : `; ${reaction}`;
  return `${name}: ${amountText(name, used)} used, ${amountText(name, limit)} allowed${why}`;
}

function amountText(name: ResourceName, amount: number): string {
  if (name === "cpu") return `${Math.round(amount * 100) / 100} cores`;
  const mb = amount / MB;
  return `${mb < 10 ? Math.round(mb * 10) / 10 : Math.round(mb)} MB`;
}
