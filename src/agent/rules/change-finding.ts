import { HoldfastError } from "../../core/errors.ts";
import { type CloudEvent, eventSource } from "../../model/event.ts";
import { changedFinding, type FindingChange, silencedOf } from "../../model/finding.ts";
import type { Json } from "../../model/json.ts";
import type { FindingRow } from "../../model/rule.ts";
import type { Collected, RuleTimes } from "./collected.ts";
import type { RuleWorld } from "./rule-world.ts";

/** Events after which a commit takes no more; the rest follows in the next. */
const ENOUGH = 500;
const TYPES = {
  acknowledge: "finding.acknowledged",
  note: "finding.noted",
  resolve: "finding.resolved",
} as const;

/**
 * A change that a person makes. `stored` is the row as the store held it: a resolved one is no longer remembered here. Throws
 * `conflict` when its state does not allow the change, and changes nothing then.
 */
export function changeFinding(
  world: RuleWorld,
  collected: Collected,
  stored: FindingRow,
  change: FindingChange,
  times: RuleTimes,
): FindingRow {
  const current = world.findings.byId(stored.id) ?? (stored.state === "resolved" ? stored : null);
  if (current === null) {
    throw new HoldfastError("conflict", `finding ${stored.id} was resolved just now: look at it again`);
  }
  const row = changedFinding(current, change, times.wallMs);
  world.findings.put(row);
  collected.putFinding(row);
  const { kind: _, ...facts } = change;
  tell(world, collected, row, TYPES[change.kind], 0, facts, times);
  return row;
}

/** Findings that are over because they were not raised for long enough. `follow` lets rules look at what is told of one. */
export function resolveDueFindings(
  world: RuleWorld,
  collected: Collected,
  times: RuleTimes,
  follow: () => void,
): void {
  while (collected.derived.length < ENOUGH) {
    const row = world.findings.takeDue(times);
    if (row === null) return;
    collected.putFinding(row);
    // Down the chain of what raised it, so that a rule that raises it again on this does not go on for ever.
    const hops = (row.extra?.event?.hops ?? 0) + 1;
    tell(world, collected, row, "finding.resolved", hops, { by: row.extra?.resolution?.by ?? "" }, times);
    follow();
  }
}

function tell(
  world: RuleWorld,
  collected: Collected,
  { id, key, rule, title, severity, count, extra }: FindingRow,
  type: string,
  hops: number,
  facts: Record<string, Json>,
  { wallMs }: RuleTimes,
): void {
  const silenced = silencedOf(extra);
  const event: CloudEvent = {
    specversion: "1.0",
    id: world.newId(),
    source: eventSource(world.agentId, `rule:${rule}`),
    type,
    time: new Date(wallMs).toISOString(),
    severity,
    ...(hops === 0 ? {} : { hops }),
    ...(silenced === null ? {} : { silenced }),
    datacontenttype: "application/json",
    data: { id, key, rule, title, severity, count, ...facts },
  };
  const body = JSON.stringify(event);
  if (body.length > world.maxEventBytes || collected.derive(rule, event, body) === null)
    world.totals.refused++;
}
