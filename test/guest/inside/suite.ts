/** The suite of test/sandbox on this kernel, held against what `holdfast doctor` says of it. */
import { resolve } from "node:path";
import type { EverydayReport, SuiteReport } from "../../sandbox/guest-main.ts";
import type { Role } from "../guests.ts";
import { runAs } from "./agents.ts";
import { expectSame, expectTrue } from "./checks.ts";
import { doctorSays } from "./doctor.ts";

/**
 * What depends on the kernel's version, in a few workers. The rest is held by the filter, which is the same everywhere, or
 * by limits, which have checks of their own here.
 */
const TRIED = "^(read|write|net|signal|exec|process)\\.(?!bomb)";
const LIMIT_SECONDS = 360;
/** For how long a worker may say nothing. */
const PATIENCE_SECONDS = 60;

/** Both ways: what is called enforced holds, and what gets through is listed. */
export function suiteAgrees(executable: string, role: Role): void {
  const { rows, problems, protections } = report<SuiteReport>(executable, role, ["suite", "--only", TRIED]);
  expectTrue(`the suite and doctor agree:\n${problems.join("\n")}`, problems.length === 0);
  const tried = rows.filter((row) => row.on !== "not run").length;
  expectTrue(`most attacks were tried: ${tried} of ${rows.length}`, tried > rows.length * 0.8);
  expectSame("levels of the suite and of doctor", protections, doctorSays(executable, role).protections);
}

export function everydayWorks(executable: string, role: Role): void {
  const [{ off, on }] = report<[EverydayReport]>(executable, role, ["everyday"]);
  const failing = off.filter(({ ok }) => !ok);
  expectSame("commands that fail without a sandbox", failing, []);
  const named = new Set(doctorSays(executable, role).everyday.flatMap(({ commands }) => commands));
  const unnamed = on.filter(({ id, ok }) => !ok && !named.has(id));
  expectSame("commands that fail in a worker, and doctor does not name them", unnamed, []);
  expectTrue(`the table is as long as it should be: ${on.length}`, on.length > 30);
}

function report<T>(executable: string, role: Role, args: string[]): T {
  const program = ["env", "BUN_BE_BUN=1", executable, "run", resolve("suite.js")];
  const { code, out, err } = runAs(role, [
    ...["timeout", String(LIMIT_SECONDS)],
    ...[...program, ...args, "--json", "--patience", String(PATIENCE_SECONDS), "--holdfast", executable],
  ]);
  const last = out.trim().split("\n").at(-1) ?? "";
  if (!/^[[{]/.test(last)) throw new Error(`the suite broke off: exit code ${code}\n${out}${err}`);
  return JSON.parse(last) as T;
}
