/** What `holdfast doctor` says, held against what is known of the guest. */
import type { Guest, Levels, Role } from "../guests.ts";
import { PROTECTION_LEVELS } from "../../../src/model/protection.ts";
import type { DoctorReport } from "../../../src/cli/doctor/report.ts";
import { holdfast } from "./agents.ts";
import { expectSame, expectTrue } from "./checks.ts";
import { makeHome } from "./guest-agent.ts";

/** The report, and the exit code, which must agree with it. */
export function doctorSays(executable: string, role: Role, args: string[] = []): DoctorReport {
  const { code, out, err } = holdfast(executable, role, ["doctor", "--json", ...args]);
  if (!out.startsWith("{")) throw new Error(`doctor --json: exit code ${code}\n${out}${err}`);
  const report = JSON.parse(out) as DoctorReport;
  expectSame("exit code of doctor", code, report.ok ? 0 : 1);
  return report;
}

export function levelsAreAsKnown(executable: string, role: Role, expected: Levels): void {
  const report = doctorSays(executable, role);
  const found = Object.fromEntries(PROTECTION_LEVELS.map((name) => [name, report.protections[name].level]));
  const reasons = PROTECTION_LEVELS.map((name) => `${name}: ${report.protections[name].reason}`).join("\n  ");
  expectSame(`levels\n  ${reasons}`, found, expected);
  for (const name of PROTECTION_LEVELS) {
    const { level, reason, fix } = report.protections[name];
    expectTrue(`${name} (${level}) has a reason`, reason.length > 10);
    expectSame(
      `${name} (${level}) says what would make it enforced`,
      fix !== undefined,
      level !== "enforced",
    );
  }
  expectSame("nothing is wrong without an agent", report.ok, true);
}

/** Under `strict` nothing but four enforced levels will do. */
export function strictIsExact(executable: string, guest: Guest, role: Role): void {
  const { base } = makeHome({
    role,
    name: "strict",
    plugins: [],
    config: "agent: { id: guest-01 }\n",
    policy: "sandbox: strict\n",
  });
  const report = doctorSays(executable, role, ["--home", base]);
  expectSame("sandbox", report.sandbox, "strict");
  const all = Object.values(guest.levels[role]).every((level) => level === "enforced");
  expectSame(`ok: ${JSON.stringify(report.checks)}`, report.ok, all);
}
