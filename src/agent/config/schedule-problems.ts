import { isDuration, parseDuration } from "../../core/duration.ts";
import { messageOf } from "../../core/errors.ts";
import { zoneProblem } from "../../model/cron-zone.ts";
import { parseTiming, TIMING_KEYS, type TimingInput, zoneCache } from "../../model/schedule-timing.ts";
import type { ExpressionChecks } from "./checks.ts";
import { checkKnown, list } from "./known-names.ts";
import { child, type ConfigNode, entriesOf, itemsOf, type Path, textOf } from "./node.ts";
import { checkGiven, foundParameters } from "./parameter-problems.ts";
import { pipelinesOf } from "./pipeline-steps.ts";
import type { Report } from "./report.ts";

const MAX_SPREAD_MS = 24 * 3_600_000;

/** Times that never come, zones that there are not, pipelines that there are not, keys that do not go together. */
export function checkSchedules(root: ConfigNode, report: Report): void {
  const pipelines = entriesOf(child(root, "pipelines")).map(([name]) => name);
  for (const [index, schedule] of itemsOf(child(root, "schedules")).entries()) {
    if (schedule.kind !== "map") continue;
    const path: Path = ["schedules", index];
    checkTiming(schedule, path, report);
    const run = textOf(child(schedule, "run"));
    if (run !== undefined) checkKnown([...path, "run"], "pipeline", run, pipelines, report);
    else if (child(schedule, "params") !== undefined)
      report.key([...path, "params"], "params are for the pipeline of `run`");
    if (child(schedule, "max_missed") !== undefined && textOf(child(schedule, "missed")) !== "all")
      report.key([...path, "max_missed"], "max_missed goes with `missed: all`");
    const spread = textOf(child(schedule, "spread")) ?? "0s";
    if (isDuration(spread) && parseDuration(spread) > MAX_SPREAD_MS)
      report.value([...path, "spread"], "a spread is 24h at most", { actual: spread });
  }
}

function checkTiming(schedule: ConfigNode, path: Path, report: Report): void {
  const given = TIMING_KEYS.filter((key) => child(schedule, key) !== undefined);
  if (given.length === 0) {
    report.value(path, "the schedule is never due", { expected: `one of ${list([...TIMING_KEYS])}` });
    return;
  }
  if (given.length > 1)
    report.key([...path, given[1]!], `${list([...given])} do not go together: a schedule has one of them`);
  const zone = textOf(child(schedule, "time_zone"));
  const wrongZone = zone === undefined ? null : zoneProblem(zone);
  if (wrongZone !== null) {
    const { message, ...suggestion } = wrongZone;
    report.value([...path, "time_zone"], message, suggestion);
  } else if (zone !== undefined && given[0] !== "cron")
    report.key([...path, "time_zone"], "a time zone goes with cron only");
  const key = given[0]!;
  const text = textOf(child(schedule, key));
  if (text === undefined || key === "on") return;
  try {
    parseTiming(
      { [key]: text } as TimingInput,
      zoneCache(() => "UTC"),
    );
  } catch (error) {
    report.value([...path, key], messageOf(error));
  }
}

/** What schedules give their pipelines. It is passed on as it is: there is no event yet that a template could speak of. */
export function checkScheduleParameters(root: ConfigNode, checks: ExpressionChecks, report: Report): void {
  const schedules = itemsOf(child(root, "schedules"));
  if (schedules.length === 0) return;
  const pipelines = new Map(pipelinesOf(root).map((pipeline) => [pipeline.name, pipeline]));
  for (const [index, schedule] of schedules.entries()) {
    const pipeline = pipelines.get(textOf(child(schedule, "run")) ?? "");
    if (pipeline === undefined) continue;
    const found = foundParameters(root, pipeline);
    const at = { path: ["schedules", index, "params"], caller: ["schedules", index, "run"], found };
    checkGiven(pipeline, child(schedule, "params"), at, checks, report);
  }
}
