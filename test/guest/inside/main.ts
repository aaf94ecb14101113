/** The job of a guest: every check, as every role. It runs in the folder of the share. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Guest, ROLES } from "../guests.ts";
import { holdfast } from "./agents.ts";
import { Checks, expectTrue } from "./checks.ts";
import { levelsAreAsKnown, strictIsExact } from "./doctor.ts";
import { limitsHold } from "./limits.ts";
import { fetchIsBrokered, startServers } from "./network.ts";
import { reactsToAnError } from "./up.ts";

const guest = JSON.parse(readFileSync("guest.json", "utf8")) as Guest;
const executable = resolve("holdfast");
const checks = new Checks(guest.name, "out/results.jsonl");

const servers = startServers();
for (const role of ROLES) {
  await checks.check(`${role}: version`, () => {
    const { code, out, err } = holdfast(executable, role, ["version"]);
    expectTrue(`${code} ${out} ${err}`, code === 0 && out.startsWith("holdfast "));
  });
  await checks.check(`${role}: doctor says the levels`, () => levelsAreAsKnown(executable, guest, role));
  await checks.check(`${role}: strict`, () => strictIsExact(executable, guest, role));
  await checks.check(`${role}: up reacts to an error`, () => reactsToAnError(executable, role));
  await checks.check(`${role}: fetch reaches the granted host only`, () =>
    fetchIsBrokered(executable, role, servers, true),
  );
}
if (guest.levels.unit.limits === "enforced") await limitsHold(executable, checks);
process.exit(checks.exitCode);
