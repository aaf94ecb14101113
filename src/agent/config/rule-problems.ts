import { AGENT_TRIGGER } from "../../model/brake.ts";
import { CLOCK_TRIGGER } from "../../model/clock-event.ts";
import { OUTPUTS_TRIGGER } from "../../model/output-batch.ts";
import { LATER_TRIGGER } from "../../model/schedule-later.ts";
import { checkKnown, list } from "./known-names.ts";
import { child, type ConfigNode, entriesOf, itemsOf, type Path, textOf } from "./node.ts";
import type { Report } from "./report.ts";

const KINDS = ["window", "sequence", "absence"];
/** The trigger of events that people emit. */
const MANUAL = "manual";
/** Names that are always there. */
const OWN: ReadonlySet<string> = new Set([
  MANUAL,
  LATER_TRIGGER,
  CLOCK_TRIGGER,
  AGENT_TRIGGER,
  OUTPUTS_TRIGGER,
]);
const OF_RULE = "rule:";
const OF_SCHEDULE = "schedule:";

/** Names that rules use and do not have, and parts of a rule that do not go together. */
export function checkRules(root: ConfigNode, report: Report): void {
  const triggers = namesOf(root, "triggers");
  const rules = namesOf(root, "rules");
  const schedules = namesOf(root, "schedules");
  const pipelines = entriesOf(child(root, "pipelines")).map(([name]) => name);
  checkReserved(root, report);
  for (const [index, rule] of itemsOf(child(root, "rules")).entries()) {
    const path: Path = ["rules", index];
    checkOn(rule, path, { triggers, rules, schedules }, report);
    const run = textOf(child(rule, "run"));
    if (run !== undefined) checkKnown([...path, "run"], "pipeline", run, pipelines, report);
    checkParts(rule, path, report);
  }
}

function namesOf(root: ConfigNode, section: string): string[] {
  return itemsOf(child(root, section)).flatMap((item) => textOf(child(item, "name")) ?? []);
}

function ownerOf(name: string): string | null {
  if (name === MANUAL) return "the events of people";
  if (name === CLOCK_TRIGGER) return "the events of the host's clock";
  if (name === AGENT_TRIGGER) return "the events of the agent itself";
  if (name === OUTPUTS_TRIGGER) return "the events of the outputs";
  if (name === LATER_TRIGGER) return "the events of runs that are put off";
  if (name.startsWith(OF_RULE)) return "the events of rules";
  return name.startsWith(OF_SCHEDULE) ? "the events of schedules" : null;
}

/** A trigger of such a name would speak for a rule or for a person. */
function checkReserved(root: ConfigNode, report: Report): void {
  for (const [index, trigger] of itemsOf(child(root, "triggers")).entries()) {
    const name = textOf(child(trigger, "name")) ?? "";
    const owner = ownerOf(name);
    if (owner === null) continue;
    report.value(["triggers", index, "name"], `the name ${JSON.stringify(name)} stands for ${owner}`);
  }
}

type Names = Record<"triggers" | "rules" | "schedules", string[]>;

function checkOn(rule: ConfigNode, path: Path, names: Names, report: Report): void {
  const { triggers, rules, schedules } = names;
  const on = child(rule, "on");
  const check = (name: string | undefined, at: Path) => {
    if (name === undefined || name === "*" || OWN.has(name)) return;
    if (name.startsWith(OF_RULE)) checkKnown(at, "rule", name.slice(OF_RULE.length), rules, report);
    else if (name.startsWith(OF_SCHEDULE))
      checkKnown(at, "schedule", name.slice(OF_SCHEDULE.length), schedules, report);
    else checkKnown(at, "trigger", name, triggers, report);
  };
  check(textOf(on), [...path, "on"]);
  for (const [index, item] of itemsOf(on).entries()) check(textOf(item), [...path, "on", index]);
}

function checkParts(rule: ConfigNode, path: Path, report: Report): void {
  if (rule.kind !== "map") return;
  const has = (key: string) => child(rule, key) !== undefined;
  if (!["run", "emit", "finding"].some(has)) {
    report.value(path, "the rule does nothing", { expected: "at least one of run, emit, finding" });
  }
  if (has("params") && !has("run")) report.key([...path, "params"], "params are for the pipeline of `run`");
  const kinds = KINDS.filter(has);
  if (kinds.length > 1) {
    const message = `${list(kinds)} do not go together: one rule has one of them; let it listen to another by on: rule:NAME`;
    report.key([...path, kinds[1]!], message);
  }
  if (has("absence") && has("debounce")) {
    report.key([...path, "debounce"], "an absence fires by time already: debounce has no meaning with it");
  }
  checkWindow(child(rule, "window"), [...path, "window"], report);
}

function checkWindow(window: ConfigNode | undefined, path: Path, report: Report): void {
  if (window?.kind !== "map" || child(window, "of") !== undefined) return;
  const compute = textOf(child(window, "compute")) ?? "count";
  if (compute === "count") return;
  report.value(path, `${compute} needs \`of\``, {
    expected: "CEL that gives the value of one event, like of: event.data.ms",
  });
}
