import { dirname } from "node:path";
import type { LandlockPolicy, PathRight } from "./launch-policy.ts";

type PathRules = LandlockPolicy["paths"];
type PathRule = PathRules[number];

/**
 * The same rights in fewer rules, since each costs three system calls at every start: one rule a path, and none for a path
 * of the host below another that gives as much. (A link there may lead elsewhere, to what nobody was promised.) Rules for what
 * was granted all stay: they are checked for links.
 */
export function fewerRules(rules: PathRules): PathRules {
  const merged = new Map<string, PathRule>();
  for (const rule of rules) {
    const key = `${rule.follow ?? false} ${rule.path}`;
    const other = merged.get(key);
    const rights = other ? [...new Set([...other.rights, ...rule.rights])] : rule.rights;
    merged.set(key, { ...rule, rights });
  }
  const rightsBelow = new Map<string, readonly PathRight[]>();
  for (const { path, rights, follow } of merged.values()) if (follow) rightsBelow.set(path, rights);
  return [...merged.values()].filter((rule) => !rule.follow || !isCovered(rule, rightsBelow));
}

function isCovered({ path, rights }: PathRule, rightsBelow: Map<string, readonly PathRight[]>): boolean {
  for (let above = dirname(path); above !== "/"; above = dirname(above)) {
    const given = rightsBelow.get(above);
    if (given && rights.every((right) => given.includes(right))) return true;
  }
  return false;
}
