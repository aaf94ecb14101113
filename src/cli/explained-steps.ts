import type { GrantSummary } from "../model/grant.ts";
import type { ShownExplainedStep, ShownExplanation } from "./client/explain-schema.ts";
import { grantLines } from "./grant-lines.ts";
import { errorText } from "./runs-detail.ts";
import { whoText } from "./explained-words.ts";
import { localTime, took } from "./show-time.ts";

/** One screen: more steps than this are counted. */
const MAX_STEPS = 8;
/** Steps that are told with their attempts. */
const MAX_DETAILED = 2;
const MAX_ATTEMPTS = 2;

type Attempt = ShownExplainedStep["attempts"][number];

/** The last step first: what went wrong stands there. */
export function explainedSteps({ steps, run }: ShownExplanation, whole: boolean): string[] {
  const logs = (step: string) => `(holdfast runs logs ${run.id.slice(-12)} --step ${step})`;
  const latest = [...steps].filter(isWorth).toReversed();
  const detailed = new Set(whole ? steps : worthDetails(latest));
  const shown = whole ? latest : [...new Set([...detailed, ...latest])].slice(0, MAX_STEPS);
  const inOrder = latest.filter((step) => shown.includes(step));
  const rest = steps.length - inOrder.length;
  return [
    ...inOrder.flatMap((step) => stepLines(step, detailed.has(step), whole, logs(step.step))),
    ...(rest > 0 ? [`  and ${rest} more steps   (holdfast runs show ${run.id.slice(-12)})`] : []),
    ...(steps.length === 0 ? ["  nothing"] : []),
  ];
}

/** A step that was left out explains nothing, unless it is asked for. */
function isWorth({ state, attempts, words }: ShownExplainedStep): boolean {
  return state !== "skipped" || attempts.length > 0 || words.length > 0;
}

/** What did not go well; where all did, the last thing done. */
function worthDetails(latest: ShownExplainedStep[]): ShownExplainedStep[] {
  const tried = latest.filter(({ attempts }) => attempts.length > 0);
  const bad = tried.filter(({ state }) => state !== "succeeded");
  return (bad.length > 0 ? bad : tried.slice(0, 1)).slice(0, MAX_DETAILED);
}

function stepLines(step: ShownExplainedStep, detailed: boolean, whole: boolean, logs: string): string[] {
  const { attempts, words, held } = step;
  const shown = detailed ? (whole ? attempts : attempts.slice(-MAX_ATTEMPTS)) : [];
  const left = detailed ? attempts.length - shown.length : 0;
  return [
    `  ${step.step}: ${whatItDoes(step)}${step.state}${when(step)}${effectText(step)}${detailed ? `   ${logs}` : ""}`,
    ...(held === null ? [] : [`    held back: ${held}`]),
    ...(step.approval && words.length === 0 ? [`    asked: ${step.approval.text}`] : []),
    ...words.map(wordText),
    ...(left > 0 ? [`    ${left} earlier ${left === 1 ? "attempt" : "attempts"} failed`] : []),
    ...shown.flatMap((attempt, index) => attemptLines(attempt, shown[index - 1], whole)),
    ...(detailed && step.attempts.length > 0 ? [`    key ${step.key}`] : []),
  ];
}

function whatItDoes({ action, work, effect }: ShownExplainedStep): string {
  if (work === "approval") return "a question to people, ";
  if (work === "pipeline") return `pipeline ${action}, `;
  return `action ${action} (${effect}), `;
}

function when({ startedAt, endedAt }: ShownExplainedStep): string {
  const at = endedAt ?? startedAt;
  return at === null ? "" : ` at ${localTime(at)}`;
}

function effectText({ done, attempts, work }: ShownExplainedStep): string {
  if (work !== "action" || attempts.length === 0 || done === "yes") return "";
  return done === "no" ? ", nothing was done" : ", nobody can say what was done";
}

function wordText({ approved, at, note, ...who }: ShownExplainedStep["words"][number]): string {
  const said = note === "" ? "" : `: ${note}`;
  return `    ${approved ? "approved" : "denied"} by ${whoText(who)} at ${localTime(at)}${said}`;
}

function attemptLines(
  { number, state, startedAt, endedAt, error, worker, ended }: Attempt,
  before: Attempt | undefined,
  whole: boolean,
): string[] {
  const told = errorText(error);
  const lasted = endedAt === null ? "" : `, took ${took(startedAt, endedAt)}`;
  const first = `    attempt ${number} at ${localTime(startedAt)}${lasted}: ${told === "" ? state : `${state}, ${told}`}`;
  const verdict = ended === null ? "its process goes on" : usedText(ended, told);
  if (worker === null) return [first, ...(ended === null ? [] : [`      ${verdict}`])];
  const by = `by ${worker.plugin}, ${worker.version}`;
  if (isSame(worker, before?.worker)) return [first, `      ${by} as before; ${verdict}`];
  return [first, `      ${by}; ${verdict}`, `      ${heldTo(worker)}`, ...grantText(worker.granted, whole)];
}

function isSame(worker: object, other: object | null | undefined): boolean {
  return JSON.stringify(worker) === JSON.stringify(other);
}

function usedText(ended: NonNullable<Attempt["ended"]>, told: string): string {
  const used = `at most ${megabytes(ended.memory)} of memory, ${ended.cpu} ms of processor time`;
  return told.includes(ended.text) ? used : `${ended.text}; ${used}`;
}

function heldTo({ protections, granted }: NonNullable<Attempt["worker"]>): string {
  if (granted.sandbox === "off") return "NOT CONFINED: the policy says sandbox: off";
  if (protections === null) return "confined by the kernel: how far was not known";
  const levels = Object.entries(protections).map(([name, level]) => `${name} ${level}`);
  return `confined: ${levels.join(", ")}`;
}

function grantText(granted: GrantSummary, whole: boolean): string[] {
  const lines = grantLines(granted).filter((line) => !line.startsWith("NOT CONFINED"));
  return (whole ? lines : lines.slice(0, 2)).map((line) => `      ${line}`);
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MB`;
}
