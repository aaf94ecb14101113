/** The job of a guest: every check, as every role. It runs in the folder of the share. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Guest, ROLES } from "../guests.ts";
import { holdfast, run } from "./agents.ts";
import { Checks, expectTrue } from "./checks.ts";
import { levelsAreAsKnown, strictIsExact } from "./doctor.ts";
import { limitsHold } from "./limits.ts";
import { fetchIsBrokered, startServers } from "./network.ts";
import { suiteAgrees } from "./suite.ts";
import { reactsToAnError } from "./up.ts";

const guest = JSON.parse(readFileSync("guest.json", "utf8")) as Guest & { only: string };
const executable = resolve("holdfast");
const checks = new Checks(guest.name, "out/results.jsonl", new RegExp(guest.only));

const servers = startServers();
for (const role of ROLES) {
  await checks.check(`${role}: version`, () => {
    const { code, out, err } = holdfast(executable, role, ["version"]);
    expectTrue(`${code} ${out} ${err}`, code === 0 && out.startsWith("holdfast "));
  });
  await checks.check(`${role}: doctor says the levels`, () =>
    levelsAreAsKnown(executable, role, guest.levels[role]),
  );
  await checks.check(`${role}: up reacts to an error`, () => reactsToAnError(executable, role));
  await checks.check(`${role}: fetch reaches the granted host only`, () =>
    fetchIsBrokered(executable, role, servers, true),
  );
}
await checks.check("strict", () => strictIsExact(executable, guest, "unit"));
for (const role of guest.suite) {
  await checks.check(`${role}: the escape suite agrees with doctor`, () => suiteAgrees(executable, role));
}
if (guest.levels.unit.limits === "enforced") await limitsHold(executable, checks);
// By Landlock's one port, or over the channel: the ways that are left where nobody but root makes namespaces.
run(["sysctl", "-qw", "user.max_user_namespaces=0"]);
await checks.check("without user namespaces: doctor says the levels", () =>
  levelsAreAsKnown(executable, "user", guest.withoutNamespaces),
);
await checks.check("without user namespaces: fetch reaches the granted host only", () =>
  fetchIsBrokered(executable, "user", servers, true),
);
process.exit(checks.exitCode);
