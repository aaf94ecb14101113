import { expect, test } from "bun:test";
import { ATTACKS } from "./attacks/all.ts";
import { languagesOf } from "./attack.ts";
import { table } from "./agreement.ts";
import { runSuiteAs, USERS } from "./suite-process.ts";

const MINUTES = 60_000;

for (const user of USERS) {
  for (const compiled of [false, true]) {
    const how = `${user}, ${compiled ? "compiled" : "from source"}`;
    test(
      `attacks: ${how}`,
      async () => {
        const report = await runSuiteAs({ user, compiled });
        console.log(`escape suite, ${how}:\n${table(report.rows)}`);
        expect(report.problems).toEqual([]);
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
}

test("attacks are told apart by their ids, and each can be made in some language", () => {
  const ids = ATTACKS.map((attack) => attack.id);
  expect(ids.filter((id, at) => ids.indexOf(id) !== at)).toEqual([]);
  expect(ATTACKS.filter((attack) => languagesOf(attack).length === 0).map((attack) => attack.id)).toEqual([]);
});
