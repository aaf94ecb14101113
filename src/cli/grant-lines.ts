import type { GrantSummary } from "../model/grant.ts";

/** A grant in a few lines for a person: what it may touch, what it may use, what it asked for in vain. */
export function grantLines(grant: GrantSummary | undefined): string[] {
  if (grant === undefined) return [];
  const permissions = Object.entries(grant.permissions).map(([name, items]) => `${name} ${items.join(" ")}`);
  const { memory, cpu, disk } = grant.resources;
  return [
    `may: ${permissions.join("; ") || "only compute, in its own folder"}`,
    `at most: memory ${memory}, ${cpu}, disk ${disk}`,
    ...(grant.sandbox === "off" ? ["NOT CONFINED: the policy says sandbox: off"] : []),
    ...(grant.hidden.length > 0 ? [`hidden from it: ${grant.hidden.join(" ")}`] : []),
    ...grant.narrowed.map((what) => `not granted: ${what}`),
  ];
}
