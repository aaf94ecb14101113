import type { Compared, Deed } from "../agent/rehearsal/ports.ts";
import type { RuleTally, Sums } from "../agent/rehearsal/tally.ts";
import { originOf } from "../agent/rehearsal/deeds.ts";
import { isoTime } from "../core/iso-time.ts";
import { isMade } from "./rules-test-json.ts";
import { localTime } from "./show-time.ts";
import { type Column, table } from "./table.ts";

interface Look {
  width: number | undefined;
  color: boolean;
}

type Shown = { compared: Compared; event: Deed["event"] };

const SIGNS = { added: "+", removed: "-", changed: "~", failed: "!", same: "=", unknown: "?" } as const;

const LAST_ERROR: Column<RuleTally> = {
  title: "LAST ERROR",
  value: ({ lastError }) => lastError,
  shrinkTo: 12,
};

/** What each rule would have done, and in brackets what it did. */
export function ruleLines(rules: RuleTally[], look: Look): string[] {
  const counted =
    (field: "evaluated" | "matched" | "fired" | "errors") =>
    ({ counts }: RuleTally) =>
      counts?.[field];
  const beside = (title: string, field: keyof Sums): Column<RuleTally> => ({
    title,
    value: ({ proposed, past }) => `${proposed[field]} (${past[field]})`,
  });
  // What no rule did takes no place.
  const besideIfAny = (title: string, field: keyof Sums): Column<RuleTally>[] =>
    rules.some(({ proposed, past }) => proposed[field] + past[field] > 0) ? [beside(title, field)] : [];
  const columns: Column<RuleTally>[] = [
    {
      title: "RULE",
      value: ({ rule, counts }) => (counts === null ? `${rule} (no more)` : rule),
      shrinkTo: 16,
    },
    { title: "EVENTS", value: counted("evaluated") },
    { title: "MATCHED", value: counted("matched") },
    { title: "FIRED", value: counted("fired") },
    beside("RUNS (WERE)", "runs"),
    ...besideIfAny("OPENED", "opened"),
    ...besideIfAny("REPEATED", "repeated"),
    ...besideIfAny("RESOLVED", "resolved"),
    ...besideIfAny("EMITTED", "emitted"),
    {
      title: "ERRORS",
      value: counted("errors"),
      color: (text) => (text === "0" || text === "-" ? undefined : "red"),
    },
    ...(rules.every(({ lastError }) => lastError === null) ? [] : [LAST_ERROR]),
  ];
  return rules.length === 0 ? ["there are no rules"] : table(rules, columns, look);
}

export function differenceLines(shown: Shown[], look: Look): string[] {
  if (shown.length === 0) return [];
  const columns: Column<Shown>[] = [
    {
      title: " ",
      value: ({ compared }) => SIGNS[compared.verdict],
      color: (text) => (text === "+" ? "green" : text === "-" ? "red" : "yellow"),
    },
    { title: "TIME", value: ({ compared }) => localTime(isoTime(compared.deed.atMs)) },
    { title: "RULE", value: ({ compared }) => compared.deed.rule, shrinkTo: 12 },
    { title: "DOES", value: ({ compared: { deed } }) => `${deed.kind} ${deed.what}`, shrinkTo: 12 },
    { title: "EVENT", value: ({ event }) => eventText(event), shrinkTo: 12 },
    { title: "WITH", value: ({ compared }) => detailText(compared), shrinkTo: 10 },
  ];
  return ["", ...table(shown, columns, look)];
}

function eventText(event: Deed["event"]): string {
  if (event === null) return "";
  const trigger = originOf(event.source)?.trigger ?? event.source;
  const id = isMade(event.id) ? "" : ` ${event.id.slice(-12)}`;
  return `${trigger} ${event.type}${event.subject === null ? "" : ` ${event.subject}`}${id}`;
}

function detailText({ deed, was, reason }: Compared): string {
  const text = (each: Deed) => (each.detail === null ? "" : JSON.stringify(each.detail));
  if (reason !== null) return reason;
  return was === null ? text(deed) : `${text(deed)} (was ${text(was)})`;
}
