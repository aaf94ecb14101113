/** The escape suite on this kernel, held against what `holdfast doctor` says of it, both ways. */
import { resolve } from "node:path";
import type { SuiteReport } from "../../sandbox/guest-main.ts";
import type { Role } from "../guests.ts";
import { runAs } from "./agents.ts";
import { expectSame, expectTrue } from "./checks.ts";
import { doctorSays } from "./doctor.ts";

/**
 * What depends on the kernel's version, in a few workers. The rest is held by the filter, which is the same everywhere, or
 * by limits, which have checks of their own here.
 */
const TRIED = "^(read|write|net|signal)\\.";
const LIMIT_SECONDS = 300;

export function suiteAgrees(executable: string, role: Role): void {
  const program = ["env", "BUN_BE_BUN=1", executable, "run", resolve("suite.js")];
  const { code, out, err } = runAs(role, [
    ...["timeout", String(LIMIT_SECONDS)],
    ...[...program, "suite", "--json", "--only", TRIED, "--holdfast", executable],
  ]);
  const last = out.trim().split("\n").at(-1) ?? "";
  if (!last.startsWith("{")) throw new Error(`the suite broke off: exit code ${code}\n${out}${err}`);
  const { rows, problems, protections } = JSON.parse(last) as SuiteReport;
  expectTrue(`the suite and doctor agree:\n${problems.join("\n")}`, problems.length === 0);
  const tried = rows.filter((row) => row.on !== "not run").length;
  expectTrue(`most attacks were tried: ${tried} of ${rows.length}`, tried > rows.length * 0.8);
  expectSame("levels of the suite and of doctor", protections, doctorSays(executable, role).protections);
}
