/** The job of a guest: every check, as every role. It runs in the folder of the share. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { type Guest, ROLES } from "../guests.ts";
import { holdfast } from "./agents.ts";
import { Checks, expectTrue } from "./checks.ts";
import { reactsToAnError } from "./up.ts";

const guest = JSON.parse(readFileSync("guest.json", "utf8")) as Guest;
const executable = resolve("holdfast");
const checks = new Checks(guest.name, "out/results.jsonl");

for (const role of ROLES) {
  await checks.check(`${role}: version`, () => {
    const { code, out, err } = holdfast(executable, role, ["version"]);
    expectTrue(`${code} ${out} ${err}`, code === 0 && out.startsWith("holdfast "));
  });
  await checks.check(`${role}: up reacts to an error`, () => reactsToAnError(executable, role));
}
process.exit(checks.exitCode);
