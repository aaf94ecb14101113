/** What attempts and steps are called against what their scripts told: each breach in words. */
import type { Told } from "./engine-home.ts";
import type { Attempt, Rows, Step } from "./engine-rows.ts";

const AT_MOST_ONCE = /^(b|each\[\d\]|put|leave|still|x|only|before|then)$/;
/** Steps that no script does. */
const NO_SCRIPT = new Set(["each", "child", "sure"]);

/** A script began under a durable lease only; what an attempt is called is what its script told, and nothing else. */
export function wrongAttempts({ attempts, steps }: Rows, told: Told[], lost: boolean): string[] {
  const wrong: string[] = [];
  const lines = new Map<string, Set<string>>();
  for (const { key, attempt, what } of told) {
    const name = `${key} ${attempt}`;
    if (!lines.has(name)) lines.set(name, new Set());
    const seen = lines.get(name)!;
    if (seen.has(what)) wrong.push(`attempt ${name} told ${what} twice`);
    seen.add(what);
  }
  const known = new Set<string>();
  const noScript = new Set(
    steps.filter((row) => NO_SCRIPT.has(row.step)).map((row) => `${row.run}/${row.step}`),
  );
  for (const row of attempts) {
    const name = `${row.run}/${row.step} ${row.number}`;
    known.add(name);
    if (noScript.has(`${row.run}/${row.step}`))
      wrong.push(`${name} is an attempt of a step without a script`);
    const says = lines.get(name) ?? new Set();
    if (row.state === "running") wrong.push(`attempt ${name} is still running`);
    if (row.state === "succeeded" && !says.has("end")) wrong.push(`attempt ${name} succeeded, never ended`);
    if (row.state === "failed" && !says.has("fail"))
      wrong.push(`attempt ${name} is told failed (${row.error?.message}), its script did not say so`);
  }
  for (const name of lines.keys())
    if (!known.has(name) && !lost) wrong.push(`attempt ${name} began without a lease`);
  return wrong;
}

/** At most once is at most once; what is missing is known to be uncertain; what succeeded was done. */
export function wrongEffects({ steps, attempts }: Rows, told: Told[]): string[] {
  const wrong = beganTwice(told);
  const begins = beginsOf(told);
  const attemptsOf = Map.groupBy(attempts, (row) => `${row.run}/${row.step}`);
  for (const step of steps) {
    if (NO_SCRIPT.has(step.step)) continue;
    const key = `${step.run}/${step.step}`;
    const times = begins.get(key) ?? 0;
    const problem = wrongEffect(step, times, attemptsOf.get(key) ?? []);
    if (problem) wrong.push(`${key} is ${step.state}, began ${times} times: ${problem}`);
  }
  return wrong;
}

function wrongEffect({ step, state, error }: Step, times: number, attempts: Attempt[]): string | null {
  const once = AT_MOST_ONCE.test(step);
  const last = attempts.at(-1)?.state;
  switch (state) {
    case "succeeded":
      return times >= 1 && last === "succeeded" ? null : "it was not done";
    case "skipped":
      return times === 0 ? null : "it was done";
    case "uncertain":
      if (last !== "unknown") return `its last attempt is ${last}`;
      return once || attempts.filter((row) => row.state === "unknown").length >= 10
        ? null
        : "it could have run again";
    case "dead":
      return step === "bad" && last === "failed" ? null : `its script succeeds (${error?.message})`;
    default:
      return `nothing leads there (${error?.message})`;
  }
}

/** At-most-once steps that were begun more than once. */
export function beganTwice(told: Told[]): string[] {
  const more = [...beginsOf(told)].filter(
    ([key, times]) => times > 1 && AT_MOST_ONCE.test(key.slice(key.indexOf("/") + 1)),
  );
  return more.map(([key, times]) => `${key} is at-most-once and began ${times} times`);
}

function beginsOf(told: Told[]): Map<string, number> {
  const begins = new Map<string, number>();
  for (const { what, key } of told) if (what === "begin") begins.set(key, (begins.get(key) ?? 0) + 1);
  return begins;
}
