import type { ShownExplanation, ShownRule } from "./client/explain-schema.ts";
import { shortJson, whoText } from "./explained-words.ts";
import { localTime } from "./show-time.ts";

/** Runs and events of a chain that are told; the first cause is always among them. */
const MAX_CHAIN = 6;

/** From the start of the run to the first cause. */
export function explainedCause(told: ShownExplanation): string[] {
  const { started, rule, events } = told;
  return [
    `  started by ${startText(told)}`,
    ...told.from.slice(0, MAX_CHAIN).map(fromText),
    ...(rule === null ? [] : ruleLines(rule)),
    ...eventLines(events),
    ...(events.length === 0 && rule === null && started.kind === "schedule"
      ? ["  (holdfast schedules list)"]
      : []),
  ];
}

function startText({ started, run }: ShownExplanation): string {
  const at = ` at ${localTime(run.createdAt)}`;
  switch (started.kind) {
    case "rule":
      return `rule ${started.by}${at}   (holdfast rules list)`;
    case "schedule":
      return started.schedule === null
        ? `a step that had put it off, as ${started.by},${at}`
        : `schedule ${started.schedule}${at}   (holdfast schedules list)`;
    case "parent":
    case "spawn":
      return `a step of run ${started.by}${at}`;
    case "retry":
      return `${whoText(started)}, who repeated a run,${at}`;
    case "manual":
      return `${whoText(started)}${at}`;
    default:
      return `${started.kind} ${whoText(started)}${at}`;
  }
}

function fromText({
  id,
  step,
  relation,
  gone,
  pipeline,
  state,
  started,
}: ShownExplanation["from"][number]): string {
  const words = { parent: "part of", spawn: "begun by", later: "put off by", retry: "repeats" };
  const of = step === null ? "" : `step ${step} of `;
  if (gone) return `  ${words[relation]} ${of}run ${id}, which is gone from the history`;
  const by = started === null ? "" : `, started by ${started.kind} ${whoText(started)}`;
  return `  ${words[relation]} ${of}run ${id.slice(-12)} of ${pipeline} (${state})${by}   (holdfast runs explain ${id.slice(-12)})`;
}

function ruleLines(rule: ShownRule): string[] {
  const says = ruleText(rule.text);
  return [`  rule ${rule.name}, ${versionText(rule)}`, ...(says === "" ? [] : [`    ${says}`])];
}

function versionText({ version, now }: ShownRule): string {
  if (version === null) return "version not recorded";
  const since = { same: ", as it is now", changed: ", changed since", gone: ", gone since" };
  return `version ${version}${since[now as keyof typeof since] ?? ""}`;
}

/** What a rule says that says nothing. */
const UNSAID = new Set(["", "null", "[]", "0s"]);

/** What it says, as far as it says something: `on: front; when: …`. */
function ruleText(text: unknown): string {
  if (typeof text !== "object" || text === null) return "";
  const known = text as Record<string, unknown>;
  const parts = [
    "on",
    "types",
    "when",
    "by",
    "window",
    "sequence",
    "absence",
    "run",
    "emit",
    "cooldown",
    "throttle",
  ];
  return parts
    .flatMap((name) => {
      const value = known[name];
      const said = typeof value === "string" ? value : shortJson(value);
      return UNSAID.has(said) ? [] : [`${name}: ${said}`];
    })
    .join("; ");
}

function eventLines(events: ShownExplanation["events"]): string[] {
  const told = events.length <= MAX_CHAIN ? events : [...events.slice(0, MAX_CHAIN - 1), events.at(-1)!];
  const left = events.length - told.length;
  return told.flatMap((event, index) => [
    ...(left > 0 && index === told.length - 1 ? [`  … ${left} events between`] : []),
    ...eventText(event, index === 0),
  ]);
}

function eventText(event: ShownExplanation["events"][number], first: boolean): string[] {
  const word = first ? "event" : "caused by event";
  if (event.gone) return [`  ${word} ${event.id}${sourceText(event)}: gone from the history`];
  const subject = event.subject === null ? "" : ` of ${event.subject}`;
  const data = shortJson(event.data);
  const more = first ? `   (holdfast events list --type ${event.type})` : "";
  return [
    `  ${word} ${event.type}${subject}${sourceText(event)} at ${localTime(event.time)}, id ${event.id}${more}`,
    ...(data === "" ? [] : [`    ${data}`]),
    ...(event.rule === null ? [] : ruleLines(event.rule)),
  ];
}

function sourceText({ trigger, plugin, rule, source }: ShownExplanation["events"][number]): string {
  if (rule !== null) return ", emitted by a rule";
  if (trigger === null) return source === null ? "" : ` of ${source}`;
  return ` from trigger ${trigger}${plugin === null ? "" : ` (${plugin})`}`;
}
