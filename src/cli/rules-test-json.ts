import type { Compared, Deed } from "../agent/rehearsal/ports.ts";
import type { RuleTally } from "../agent/rehearsal/tally.ts";
import { isoTime } from "../core/iso-time.ts";

/** One line of `rules test --json`; docs/rules.md tells what is in it. */
export function comparedAsJson({ verdict, deed, was, reason }: Compared, event: Deed["event"]) {
  const common = {
    change: verdict,
    time: isoTime(deed.atMs),
    rule: deed.rule,
    event: event && { ...event, id: isMade(event.id) ? null : event.id },
  };
  if (deed.kind === "run") {
    return {
      kind: "run",
      ...common,
      pipeline: deed.what,
      params: deed.detail,
      was: was && { time: isoTime(was.atMs), params: was.detail },
      run: (was ?? deed).run,
      reason,
    };
  }
  return {
    kind: "finding",
    ...common,
    did: deed.kind,
    key: deed.what,
    finding: deed.detail,
    was: was && { time: isoTime(was.atMs), finding: was.detail },
  };
}

/** An event that only the rehearsal has. */
export function isMade(id: string): boolean {
  return id.startsWith("rehearsed-");
}

export function ruleAsJson({ rule, counts, lastError, proposed, past, verdicts }: RuleTally) {
  return { kind: "rule", rule, ...counts, lastError, proposed, past, ...verdicts };
}
