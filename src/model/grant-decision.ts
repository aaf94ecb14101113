import type { Grant, GrantDecision } from "./grant.ts";
import { GrantDecider, type GrantRequest } from "./grant-decider.ts";
import { coversName } from "./grant-limits.ts";
import { GrantNotes, listText } from "./grant-notes.ts";
import { decideResources } from "./grant-resources.ts";
import type { GrantRule, Policy } from "./policy.ts";

export type { GrantRequest };

/**
 * What one use of a plugin gets: its wish with the settings filled in, real paths only, cut down by the policy. A refusal
 * names everything that is wrong at once. Throws nothing.
 */
export function decideGrant(request: GrantRequest): GrantDecision {
  const { name, policy } = request;
  const ban = banOf(name, policy);
  if (ban !== null) return { kind: "refused", reasons: [ban] };
  const rule = grantRuleOf(name, policy);
  const notes = new GrantNotes(name, rule?.on_more ?? policy.plugins.on_more);
  const sandbox = rule?.sandbox ?? policy.sandbox;
  const decide = new GrantDecider(request, rule?.permissions ?? {}, sandbox === "off", notes);
  const grant: Grant = {
    sandbox: sandbox === "off" ? "off" : "on",
    read: decide.paths("read"),
    write: decide.paths("write"),
    exec: decide.paths("exec"),
    connect: decide.endpoints("connect"),
    udp: decide.endpoints("udp"),
    listen: decide.ports(),
    icmp: decide.icmp(),
    unix: decide.paths("unix"),
    env: decide.names("env"),
    secrets: decide.names("secrets"),
    secretEnv: decide.secretEnv(),
    memory: decide.names("memory"),
    namespaces: decide.names("namespaces"),
    host: decide.operations(),
    resources: decideResources(request.resources, rule?.resources, notes),
    narrowed: notes.narrowed,
    hidden: decide.hidden(),
  };
  if (notes.reasons.length > 0) return { kind: "refused", reasons: notes.reasons };
  const needsHiding = grant.hidden.length > 0;
  return { kind: "granted", grant, strict: sandbox === "strict", create: decide.create, needsHiding };
}

/** The rule of the policy that counts for a plugin of this name. */
export function grantRuleOf(name: string, policy: Policy): GrantRule | undefined {
  return policy.plugins.grants.find((rule) => rule.plugins.some((pattern) => coversName(pattern, name)));
}

/** Why a plugin of this name may not run at all, or null. */
export function banOf(name: string, policy: Policy): string | null {
  const { block, allow } = policy.plugins;
  const blocked = block.find((pattern) => coversName(pattern, name));
  if (blocked !== undefined) {
    return `plugin ${name}: the policy blocks it (plugins.block: ${blocked}); take it from that list if it may run`;
  }
  if (allow.length === 0 || allow.some((pattern) => coversName(pattern, name))) return null;
  return `plugin ${name}: the policy allows only ${listText(allow)} (plugins.allow); add it there if it may run`;
}
