import type { FindingRow } from "../../model/rule.ts";
import type { EventCommit } from "./ports.ts";

/** Says in findings which run the same rule started for the same event, in the rows that the rules remember as well. */
export function linkFindings(findings: FindingRow[], started: EventCommit["runs"]): void {
  for (const finding of findings) {
    const event = finding.extra?.event;
    if (event === undefined || finding.state === "resolved") continue;
    const found = started.find(
      ({ start: { run } }) =>
        run.starter.kind === "rule" &&
        run.starter.by === finding.rule &&
        run.eventId === event.id &&
        run.eventSource === event.source,
    );
    if (found) finding.extra = { ...finding.extra, run: found.start.run.id };
  }
}
