/** The job of a guest: every check, as every role. It runs in the folder of the share. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Guest, ROLES } from "../guests.ts";
import { run } from "./agents.ts";
import { Checks } from "./checks.ts";
import { levelsAreAsKnown, strictIsExact } from "./doctor.ts";
import { controllersHold, watchHolds } from "./limits.ts";
import { fetchIsBrokered, startServers } from "./network.ts";
import { everydayWorks, suiteAgrees } from "./suite.ts";
import { reactsToAnError } from "./up.ts";

const guest = JSON.parse(readFileSync("guest.json", "utf8")) as Guest & { only: string };
const executable = resolve("holdfast");
const checks = new Checks(guest.name, new RegExp(guest.only));
const servers = startServers();

for (const role of ROLES) {
  await checks.check(`${role}: doctor says the levels`, () =>
    levelsAreAsKnown(executable, role, guest.levels[role]),
  );
}
await checks.check("strict", () => strictIsExact(executable, guest, "unit"));
await checks.check(`${guest.up}: up reacts to an error`, () => reactsToAnError(executable, guest.up));
// The unit's user is the ordinary one.
for (const role of ["root", "unit"] as const) {
  await checks.check(`${role}: fetch reaches the granted host only`, () =>
    fetchIsBrokered(executable, role, servers),
  );
}
for (const role of guest.everyday) {
  if (role === "restricted") continue;
  await checks.check(`${role}: everyday commands work, or doctor names them`, () =>
    everydayWorks(executable, role),
  );
}
await checks.check(`${guest.suite}: the escape suite agrees with doctor`, () =>
  suiteAgrees(executable, guest.suite),
);
if (guest.limits === "controllers") await controllersHold(executable, checks);
if (guest.limits === "watch") await watchHolds(executable, checks);
// By Landlock's one port, or over the channel: the ways that are left where nobody but root makes namespaces.
run(["sysctl", "-qw", "user.max_user_namespaces=0"]);
await checks.check("without user namespaces: doctor says the levels", () =>
  levelsAreAsKnown(executable, "user", guest.withoutNamespaces),
);
await checks.check("without user namespaces: fetch reaches the granted host only", () =>
  fetchIsBrokered(executable, "user", servers),
);
if (guest.everyday.includes("restricted")) {
  await checks.check("without user namespaces: everyday commands work, or doctor names them", () =>
    everydayWorks(executable, "user"),
  );
}
process.exit(checks.close());
