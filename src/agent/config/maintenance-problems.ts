import { isDuration, parseDuration } from "../../core/duration.ts";
import { messageOf } from "../../core/errors.ts";
import { parseCron } from "../../model/cron.ts";
import { zoneProblem } from "../../model/cron-zone.ts";
import { MAX_WINDOW_MS } from "../../model/maintenance.ts";
import { parseTime } from "../../model/schedule-time.ts";
import { MATCH_NAMES, matchProblem } from "../../model/silence.ts";
import { checkKnown } from "./known-names.ts";
import { child, type ConfigNode, entriesOf, itemsOf, type Path, textOf } from "./node.ts";
import type { Report } from "./report.ts";

const MIN_WINDOW_MS = 1000;

/** Windows that never open or do nothing, and matches that match nothing. */
export function checkMaintenance(root: ConfigNode, report: Report): void {
  const named = (section: string) =>
    itemsOf(child(root, section)).flatMap((item) => textOf(child(item, "name")) ?? []);
  const known = {
    rule: named("rules"),
    pipeline: entriesOf(child(root, "pipelines")).map(([name]) => name),
  };
  for (const [index, window] of itemsOf(child(root, "maintenance")).entries()) {
    if (window.kind !== "map") continue;
    const path: Path = ["maintenance", index];
    checkTimes(window, path, report);
    checkMatch(window, [...path, "match"], known, report);
    const brakes = isTrue(child(window, "brake"));
    const mute = child(window, "mute");
    const mutesNothing = mute?.kind === "list" && mute.items.length === 0;
    if ((entriesOf(child(window, "match")).length === 0 || mutesNothing) && !brakes)
      report.value(path, "the window does nothing", {
        expected: "a match and something to mute, or brake: true",
      });
  }
}

function isTrue(node: ConfigNode | undefined): boolean {
  return node?.kind === "scalar" && node.value === true;
}

function checkMatch(
  window: ConfigNode,
  path: Path,
  known: Record<"rule" | "pipeline", string[]>,
  report: Report,
): void {
  for (const [name, node] of entriesOf(child(window, "match"))) {
    const pattern = textOf(node);
    if (pattern === undefined) continue;
    const at = [...path, name];
    const problem = matchProblem({ name, pattern });
    if (problem !== null) {
      if (name.startsWith("label.") || (MATCH_NAMES as readonly string[]).includes(name))
        report.value(at, problem);
      else report.key(at, problem.replace(/; did you mean .*$/, ""), report.suggest(name, MATCH_NAMES));
    } else if ((name === "rule" || name === "pipeline") && !pattern.includes("*"))
      checkKnown(at, name, pattern, known[name], report);
  }
}

function checkTimes(window: ConfigNode, path: Path, report: Report): void {
  const has = (key: string) => child(window, key) !== undefined;
  if (!has("schedule") && !has("from")) {
    const expected = "schedule with for, or from with until";
    return report.value(path, "the window never opens", { expected });
  }
  const [first, other] = has("schedule") ? (["schedule", "from"] as const) : (["from", "schedule"] as const);
  if (has(other))
    report.key([...path, other], `${first} and ${other} do not go together: a window has one of them`);
  if (first === "schedule") return checkSchedule(window, path, report);
  for (const key of ["for", "time_zone"])
    if (has(key)) report.key([...path, key], `${key} goes with schedule; a window with from closes at until`);
  checkMoments(window, path, report);
}

function checkSchedule(window: ConfigNode, path: Path, report: Report): void {
  const text = textOf(child(window, "schedule"));
  if (child(window, "until") !== undefined)
    report.key([...path, "until"], "until goes with from; a window with schedule is open for a time");
  try {
    if (text !== undefined) parseCron(text);
  } catch (error) {
    report.value([...path, "schedule"], messageOf(error));
  }
  const zone = textOf(child(window, "time_zone"));
  const wrongZone = zone === undefined ? null : zoneProblem(zone);
  if (wrongZone !== null) {
    const { message, ...suggestion } = wrongZone;
    report.value([...path, "time_zone"], message, suggestion);
  }
  const length = textOf(child(window, "for"));
  if (length === undefined)
    report.value(path, "nothing says how long the window is open", { expected: "for: a duration" });
  else if (
    isDuration(length) &&
    (parseDuration(length) > MAX_WINDOW_MS || parseDuration(length) < MIN_WINDOW_MS)
  )
    report.value(
      [...path, "for"],
      "a window that comes by a schedule is open for 1s to 7d; a longer one has from and until",
      {
        actual: length,
      },
    );
}

function checkMoments(window: ConfigNode, path: Path, report: Report): void {
  const moment = (key: string): number | undefined => {
    const text = textOf(child(window, key));
    if (text === undefined) return undefined;
    try {
      return parseTime(text);
    } catch (error) {
      report.value([...path, key], messageOf(error));
      return undefined;
    }
  };
  const [fromMs, untilMs] = [moment("from"), moment("until")];
  if (child(window, "until") === undefined)
    report.value(path, "nothing says when the window closes", { expected: "until: a time" });
  else if (fromMs !== undefined && untilMs !== undefined && untilMs <= fromMs)
    report.value([...path, "until"], "the window closes before it opens");
}
