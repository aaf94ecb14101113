import { PROTECTION_LEVELS, type Protections } from "../../model/protection.ts";
import { plainLine } from "../plain-text.ts";
import { type Color, table } from "../table.ts";

/** What was looked at: `note` is worth knowing, `failed` keeps something from working. */
export interface DoctorCheck {
  name: string;
  state: "ok" | "note" | "failed";
  detail: string;
  /** What to do; absent where nothing needs to be done. */
  fix?: string;
}

/** Everyday programs that a script in a worker cannot use here. */
export interface EverydayGap {
  commands: string[];
  reason: string;
}

/** What `holdfast doctor --json` prints (docs/sandbox.md). */
export interface DoctorReport {
  /** False exactly when the exit code is 1. */
  ok: boolean;
  version: string;
  host: { hostname: string; os: string; kernel: string; arch: string };
  uid: number | null;
  /** The agent that was looked at. */
  agent: { id: string; home: string } | null;
  /** What the policy says: `on`, `strict` or `off`. */
  sandbox: "on" | "strict" | "off";
  /** Whose levels these are: measured now by a worker of this process, or told by the agent that runs. */
  measured: { by: "doctor" } | { by: "agent"; pid: number };
  protections: Protections;
  everyday: EverydayGap[];
  checks: DoctorCheck[];
}

/** A failed check, or any level below enforced where the policy asks for all of them (`strict`). */
export function isWrong(report: Pick<DoctorReport, "sandbox" | "protections" | "checks">): boolean {
  return report.checks.some((check) => check.state === "failed") || strictGaps(report).length > 0;
}

/** Levels for which nothing is run under `strict`. */
export function strictGaps({ sandbox, protections }: Pick<DoctorReport, "sandbox" | "protections">) {
  if (sandbox !== "strict") return [];
  return PROTECTION_LEVELS.filter((name) => protections[name].level !== "enforced");
}

/** The report for people: nothing is cut, and the last line names every level. */
export function reportLines(report: DoctorReport, color: boolean): string[] {
  return [
    ...headLines(report),
    "",
    ...protectionLines(report.protections, color),
    ...report.everyday.flatMap(({ commands, reason }) => [
      "",
      plainLine(`Scripts in workers cannot use ${commands.join(", ")}: ${reason}`),
    ]),
    "",
    ...checkLines(report.checks, color),
    "",
    lastLine(report),
  ];
}

function headLines({ version, host, uid, agent, sandbox, measured }: DoctorReport): string[] {
  const by = measured.by === "agent" ? `as the running agent (pid ${measured.pid}) says` : "as measured now";
  return [
    `holdfast ${version} on ${host.hostname}: ${host.os}, Linux ${host.kernel} ${host.arch}, uid ${uid ?? "?"}`,
    agent === null ? "no agent's home was looked at" : `agent ${agent.id} in ${agent.home}`,
    `sandbox: ${sandbox}${sandbox === "off" ? ", so nothing confines a worker" : ""}; levels ${by}`,
  ].map(plainLine);
}

function protectionLines(protections: Protections, color: boolean): string[] {
  const rows = PROTECTION_LEVELS.map((name) => ({ name, ...protections[name] }));
  const lines = table(
    rows,
    [
      { title: "PROTECTION", value: (row) => row.name },
      { title: "LEVEL", value: (row) => row.level, color: stateColor },
      { title: "REASON", value: (row) => row.reason },
    ],
    { color },
  );
  return underEach(lines, rows, ({ fix, unprotected }) => [
    ...(fix === undefined ? [] : [`to do: ${fix}`]),
    ...(unprotected.length === 0 ? [] : [`not stopped: ${unprotected.join(", ")}`]),
  ]);
}

function checkLines(checks: DoctorCheck[], color: boolean): string[] {
  const lines = table(
    checks,
    [
      { title: "CHECK", value: (row) => row.name },
      { title: "STATE", value: (row) => row.state, color: stateColor },
      { title: "FOUND", value: (row) => row.detail },
    ],
    { color },
  );
  return underEach(lines, checks, ({ fix }) => (fix === undefined ? [] : [`to do: ${fix}`]));
}

/** Puts notes under the rows of a table that has a header. */
function underEach<T>(lines: string[], rows: T[], notes: (row: T) => string[]): string[] {
  return lines.flatMap((line, index) => {
    const row = rows[index - 1];
    return [line, ...(row === undefined ? [] : notes(row).map((text) => `    ${plainLine(text)}`))];
  });
}

function lastLine(report: DoctorReport): string {
  const levels = PROTECTION_LEVELS.map((name) => `${name} ${report.protections[name].level}`).join(", ");
  const failed = report.checks.filter((check) => check.state === "failed").length;
  const gaps = strictGaps(report);
  const strict = gaps.length === 0 ? "" : `; sandbox: strict runs nothing here, for ${gaps.join(" and ")}`;
  return `${levels}; ${failed === 0 ? "no check" : failed === 1 ? "1 check" : `${failed} checks`} failed${strict}`;
}

function stateColor(text: string): Color | undefined {
  if (text === "enforced" || text === "ok") return "green";
  if (text === "missing" || text === "failed") return "red";
  if (text === "partial" || text === "note") return "yellow";
  return undefined;
}
