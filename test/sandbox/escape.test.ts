import { expect, test } from "bun:test";
import { ATTACKS } from "./attacks/all.ts";
import { languagesOf } from "./attack.ts";
import { table } from "./agreement.ts";
import { runSuiteAs, type SuiteRun, USERS } from "./suite-process.ts";

const MINUTES = 60_000;
/** What depends on the program that a worker is: the executable, or Bun with the sources. */
const BY_PROGRAM = String.raw`^(exec\.|read\.proc|write\.(executable|own-code)|net\.(tcp|fetch)|signal\.|process\.ptrace)`;

/** All attacks by both users, from source and compiled; the two other pairs only what depends on the program. */
const RUNS: SuiteRun[] = USERS.flatMap((user) => [
  { user, compiled: false, ...(user === "root" ? {} : { only: BY_PROGRAM }) },
  { user, compiled: true, ...(user === "root" ? { only: BY_PROGRAM } : {}) },
]);

for (const run of RUNS) {
  const { user, compiled, only } = run;
  const how = `${user}, ${compiled ? "compiled" : "from source"}${only ? ", what depends on that" : ""}`;
  test(
    `attacks: ${how}`,
    async () => {
      const report = await runSuiteAs(run);
      console.log(`escape suite, ${how}:\n${table(report.rows)}`);
      expect(report.problems).toEqual([]);
      expect(report.rows.length).toBeGreaterThan(only ? 60 : 300);
      // What cannot be tried is a small part of it, and each succeeded without a sandbox.
      const proved = report.rows.filter((row) => row.off === "succeeded");
      expect(proved.length).toBeGreaterThan(report.rows.length * (user === "root" ? 0.9 : 0.7));
      expect(report.rows.filter((row) => row.on === "stopped").length).toBeGreaterThan(
        report.rows.length * 0.8,
      );
    },
    4 * MINUTES,
  );
}

test("attacks are told apart by their ids, and each can be made in some language", () => {
  const ids = ATTACKS.map((attack) => attack.id);
  expect(ids.filter((id, at) => ids.indexOf(id) !== at)).toEqual([]);
  expect(ATTACKS.filter((attack) => languagesOf(attack).length === 0).map((attack) => attack.id)).toEqual([]);
});
