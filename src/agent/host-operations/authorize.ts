import { nearest } from "../../core/nearest.ts";
import { readUnit, shown } from "./objects.ts";
import { type Operation, VERBS } from "./verbs.ts";

export type Authorization = { allowed: true } | { allowed: false; reason: string };

/**
 * An operation must be in what the worker was granted and in what the host's policy lets anybody have. An entry without an
 * object covers every object of a verb that can do without one (`journal.read`), and nothing of one that cannot.
 */
export function authorize(operation: Operation, granted: string[], policy: string[]): Authorization {
  const denied = (why: string): Authorization => ({
    allowed: false,
    reason: `denied: host ${operation.text}: ${why}`,
  });
  if (!policy.some((entry) => covers(entry, operation))) {
    return denied("the policy of this host does not allow it (host.operations)");
  }
  if (!granted.some((entry) => covers(entry, operation))) {
    return denied("the plugin was not granted it (permissions.host)");
  }
  return { allowed: true };
}

function covers(entry: string, operation: Operation): boolean {
  const colon = entry.indexOf(":");
  const verb = colon === -1 ? entry : entry.slice(0, colon);
  if (verb !== operation.verb) return false;
  const rule = VERBS[verb]!.object;
  if (colon === -1) return rule.need !== "required";
  if (operation.object === null) return false;
  const pattern = entry.slice(colon + 1);
  return matchesGlob(rule.read === readUnit ? fullUnit(pattern) : pattern, operation.object);
}

/** `nginx` in an entry means `nginx.service`, as it does in a request; a pattern stays as it is. */
function fullUnit(pattern: string): string {
  return pattern.includes("*") ? pattern : (readUnit(pattern) ?? pattern);
}

/** `*` is any text. Time is at most the product of the lengths, however the stars lie. */
export function matchesGlob(pattern: string, text: string): boolean {
  let p = 0;
  let t = 0;
  let star = -1;
  let resume = 0;
  while (t < text.length) {
    if (pattern[p] === "*") {
      star = p++;
      resume = t;
    } else if (pattern[p] === text[t]) {
      p++;
      t++;
    } else if (star !== -1) {
      p = star + 1;
      t = ++resume;
    } else return false;
  }
  while (pattern[p] === "*") p++;
  return p === pattern.length;
}

/** What is wrong with an entry of a policy, a manifest or an allow list; null when nothing is. */
export function entryProblem(entry: string): string | null {
  const colon = entry.indexOf(":");
  const verb = colon === -1 ? entry : entry.slice(0, colon);
  if (!Object.hasOwn(VERBS, verb)) {
    const meant = nearest(verb, Object.keys(VERBS));
    return `there is no host operation ${shown(verb)}${meant === undefined ? "" : `; did you mean ${meant}?`}`;
  }
  const rule = VERBS[verb]!.object;
  if (colon === -1) {
    return rule.need === "required"
      ? `${verb} needs ${rule.what}: ${verb}:NAME, or ${verb}:* for every one`
      : null;
  }
  if (rule.need === "none") return `${verb} takes no object`;
  const object = entry.slice(colon + 1);
  // With its stars filled in by a letter it must be a name: else it could never match one.
  return rule.read(object.replaceAll("*", "x")) === null
    ? `${shown(object)} is not the name of ${rule.what}, nor a pattern of names`
    : null;
}
