import type { Compared, Deed } from "../agent/rehearsal/ports.ts";
import type { RuleTally } from "../agent/rehearsal/tally.ts";
import type { OpenRehearsal } from "../agent/rehearse.ts";
import type { Clock } from "../core/clock.ts";
import { isoTime } from "../core/iso-time.ts";
import type { Output } from "./output.ts";
import { breather, progressOn } from "./progress.ts";
import { comparedAsJson, ruleAsJson } from "./rules-test-json.ts";
import { differenceLines, ruleLines } from "./rules-test-lines.ts";
import { localTime } from "./show-time.ts";

export interface PrintOptions {
  out: Output;
  json: boolean;
  /** Differences that people see. */
  limit: number;
  /** Rules that are told of; empty is all. */
  only: string[];
  /** As it was given. */
  since: string;
  clock: Clock;
  signal: AbortSignal;
}

const DIFFERENCES = new Set<Compared["verdict"]>(["added", "removed", "changed"]);

/** Runs the rehearsal and prints what it gives as it comes; resolves with the number of differences. */
export async function printRehearsal(rehearsal: OpenRehearsal, options: PrintOptions): Promise<number> {
  const { out, json, only } = options;
  const { span } = rehearsal;
  if (json) await out.line(JSON.stringify(start(rehearsal)));
  else for (const line of opening(rehearsal, options.since)) await out.line(line);
  if (span === null) {
    if (json) await out.line(JSON.stringify(summary(rehearsal, [], 0, null)));
    return 0;
  }
  const isTold = (rule: string) => only.length === 0 || only.includes(rule);
  const shown: { compared: Compared; event: Deed["event"] }[] = [];
  let lines: string[] = [];
  const progress = progressOn(options.clock);
  const breathe = breather(options.clock);
  const running = rehearsal.run({
    signal: options.signal,
    tell(compared) {
      const { deed, verdict } = compared;
      if (!isTold(deed.rule)) return;
      if (json) lines.push(JSON.stringify(comparedAsJson(compared, rehearsal.eventOf(deed))));
      else if (verdict !== "same" && verdict !== "unknown" && shown.length < options.limit)
        shown.push({ compared, event: rehearsal.eventOf(deed) });
    },
    async settle(reached) {
      progress.show(reached.events, reached.of, "events");
      const text = lines.map((line) => `${line}\n`).join("");
      lines = [];
      if (text !== "") await out.write(text);
      await breathe();
    },
  });
  const { rules, events, runsKeptFrom } = await running.finally(() => progress.end());
  const told = rules.filter(({ rule }) => isTold(rule));
  const keptFrom = runsKeptFrom === 0 ? null : (rehearsal.timeOf(runsKeptFrom) ?? span.untilMs);
  if (json) {
    for (const tally of told) await out.line(JSON.stringify(ruleAsJson(tally)));
    await out.line(JSON.stringify(summary(rehearsal, told, events, keptFrom)));
  } else {
    for (const line of ruleLines(told, out)) await out.line(line);
    for (const line of differenceLines(shown, out)) await out.line(line);
    for (const line of closing(told, events, keptFrom, shown.length)) await out.line(line);
  }
  return differences(told);
}

function differences(rules: RuleTally[]): number {
  return rules.reduce((sum, { verdicts }) => {
    for (const verdict of DIFFERENCES) sum += verdicts[verdict];
    return sum;
  }, 0);
}

function total(rules: RuleTally[], verdict: Compared["verdict"]): number {
  return rules.reduce((sum, { verdicts }) => sum + verdicts[verdict], 0);
}

function start({ agentId, span, rules, readMemory }: OpenRehearsal) {
  return {
    kind: "start",
    agent: agentId,
    from: span && isoTime(span.fromMs),
    until: span && isoTime(span.untilMs),
    cut: span?.cut ?? false,
    rules: rules.map(({ name }) => name),
    readMemory,
  };
}

function opening({ agentId, span, readMemory }: OpenRehearsal, since: string): string[] {
  if (span === null)
    return [`${agentId}: the store has no event since ${since}: there is nothing to look at`];
  const time = (ms: number) => localTime(isoTime(ms));
  const lines = [`${agentId}: from ${time(span.fromMs)} to ${time(span.untilMs)}`];
  if (span.cut) lines.push(`the history begins at ${time(span.fromMs)}, later than --since ${since}`);
  if (readMemory.length > 0) lines.push(`with the memory as it is now: ${readMemory.join(", ")}`);
  return lines;
}

function summary(
  { span }: OpenRehearsal,
  rules: RuleTally[],
  events: number,
  keptFromMs: number | null,
): Record<string, unknown> {
  return {
    kind: "summary",
    events,
    from: span && isoTime(span.fromMs),
    until: span && isoTime(span.untilMs),
    same: total(rules, "same"),
    added: total(rules, "added"),
    removed: total(rules, "removed"),
    changed: total(rules, "changed"),
    failed: total(rules, "failed"),
    unknown: total(rules, "unknown"),
    runsKeptFrom: keptFromMs === null ? null : isoTime(keptFromMs),
    differences: differences(rules),
  };
}

function closing(rules: RuleTally[], events: number, keptFromMs: number | null, shown: number): string[] {
  const [added, removed, changed] = [total(rules, "added"), total(rules, "removed"), total(rules, "changed")];
  const hidden = added + removed + changed + total(rules, "failed") - shown;
  const lines = hidden > 0 ? [`… and ${hidden} more: --limit N shows them, --json all`] : [];
  const unknown = total(rules, "unknown");
  if (keptFromMs !== null) {
    const time = localTime(isoTime(keptFromMs));
    lines.push(`? ${unknown} runs could not be compared: those before ${time} are no longer kept`);
  }
  const words =
    added + removed + changed === 0
      ? "no difference"
      : `${added} new (+), ${removed} gone (-), ${changed} changed (~)`;
  return [
    ...lines,
    `${events} ${events === 1 ? "event" : "events"}: ${words}, ${total(rules, "same")} the same (=)`,
  ];
}
