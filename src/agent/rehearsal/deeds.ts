import type { CloudEvent } from "../../model/event.ts";
import { RESOLVED_BY_RULE, RESOLVED_BY_TIME } from "../../model/finding.ts";
import type { JsonObject } from "../../model/json.ts";
import type { Deed, Evaluated, Verdict } from "./ports.ts";

const SOURCE = /^urn:holdfast:agent:([^/]+)\/(.*)$/s;
const RULE = "rule:";

/** Where an event came from, by its source. */
export interface Origin {
  agent: string;
  trigger: string;
  /** The rule that made it, or null. */
  rule: string | null;
}

/** Null for a source that no agent gives. */
export function originOf(source: string): Origin | null {
  const found = SOURCE.exec(source);
  if (found === null) return null;
  const [, agent, trigger] = found as unknown as [string, string, string];
  return { agent, trigger, rule: trigger.startsWith(RULE) ? trigger.slice(RULE.length) : null };
}

export const rootOfEvent = (n: number) => `n ${n}`;

/** The number of the event that a root is; null where time alone is at the root. */
export function numberOf(root: string): number | null {
  return isTimed(root) ? null : Number(root.slice(2));
}

/** What a person did with a finding is told in the name of its rule, with who it was. */
export function personOf(event: CloudEvent): string | null {
  if (!event.type.startsWith("finding.")) return null;
  const by = dataOf(event).by;
  return typeof by === "string" && by !== "" && by !== RESOLVED_BY_RULE && by !== RESOLVED_BY_TIME
    ? by
    : null;
}

/**
 * What an event that a rule made goes back to: an event that came from elsewhere, where one caused it (`known` has the roots
 * of the events around it), else what was due, in the same words in the past and in the rehearsal.
 */
export function rootOf(event: CloudEvent, rule: string, known: (id: string) => string | undefined): string {
  const { type, subject = "", causationid } = event;
  if (type === "rule.debounced") return `debounced ${rule} ${causationid}`;
  if (type === "rule.absent") return `absent ${rule} ${subject}`;
  const root = causationid === undefined ? undefined : known(causationid);
  if (root !== undefined) return root;
  return causationid === undefined ? `${type} ${rule} ${String(dataOf(event).key)}` : LOST;
}

const LOST = "lost";

/** True when what it goes back to is not there: it was trimmed from the history. */
export function isLost(root: string): boolean {
  return root === LOST;
}

/** True when time alone brought it about. */
export function isTimed(root: string): boolean {
  return !root.startsWith("n ");
}

/** What a rule's own event tells of a finding; null when it tells of something else. */
export function findingDeed(event: CloudEvent, rule: string, root: string, atMs: number): Deed | null {
  const kind =
    event.type === "finding.opened" ? "opened" : event.type === "finding.resolved" ? "resolved" : null;
  if (kind === null) return null;
  const { key, title, severity } = dataOf(event);
  const detail = kind === "opened" ? { title: title ?? null, severity: severity ?? null } : null;
  return { kind, rule, what: String(key), root, atMs, event: cause(event), detail, run: null };
}

/** An event of a rule that is what it was configured to emit. */
export function isEmitted({ type }: { type: string }): boolean {
  return !type.startsWith("finding.") && type !== "rule.absent" && type !== "rule.debounced";
}

export function cause({ source, id, type, subject }: CloudEvent): Deed["event"] {
  return { source, id, type, subject: subject ?? null };
}

/** Deeds of one evaluation. `roots` grows by the events that it derived; those in it already are nobody's deed. */
export function deedsOf(
  evaluated: Evaluated,
  roots: Map<string, string>,
  atMs: number,
): { deeds: Deed[]; runs: { deed: Deed; asked: Evaluated["runs"][number] }[]; emitted: string[] } {
  const deeds: Deed[] = [];
  const emitted: string[] = [];
  for (const { event } of evaluated.derived) {
    if (roots.has(event.id)) continue;
    const rule = originOf(event.source)?.rule ?? "";
    const root = rootOf(event, rule, (id) => roots.get(id));
    roots.set(event.id, root);
    const deed = findingDeed(event, rule, root, atMs);
    if (deed) deeds.push(deed);
    else if (isEmitted(event)) emitted.push(rule);
  }
  const runs = evaluated.runs.map((asked) => {
    const { rule, pipeline, event } = asked;
    const root = roots.get(event.id) ?? LOST;
    const deed: Deed = {
      kind: "run",
      rule,
      what: pipeline,
      root,
      atMs,
      event: cause(event),
      detail: asked.params,
      run: null,
    };
    return { deed, asked };
  });
  return { deeds, runs, emitted };
}

/** Two deeds of the same name are one when they do the same. */
export function nameOf({ kind, rule, what, root }: Deed): string {
  return `${kind}\n${rule}\n${what}\n${root}`;
}

export function verdictOf(proposed: Deed, past: Deed): Verdict {
  return Bun.deepEquals(proposed.detail, past.detail) ? "same" : "changed";
}

function dataOf(event: CloudEvent): JsonObject {
  const { data } = event;
  return typeof data === "object" && data !== null && !Array.isArray(data) ? data : {};
}
