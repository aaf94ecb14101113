/** The everyday commands of scripts, at every level of protection: they work, or `doctor` names them. */
import { expect, test } from "bun:test";
import { everydayGaps } from "../../src/cli/doctor/everyday.ts";
import { possibleCommands } from "./run-everyday.ts";
import { runEverydayAs, startedOnce, USERS } from "./suite-process.ts";

const MINUTES = 60_000;

const HOSTS: { title: string; without: string }[] = [
  { title: "everything that this kernel has", without: "" },
  { title: "no namespaces", without: "mountNamespace,netNamespace" },
  { title: "Landlock ABI 2", without: "abi=2" },
  { title: "no Landlock", without: "landlock" },
  { title: "no Landlock, no namespaces", without: "landlock,mountNamespace,netNamespace" },
  { title: "no seccomp", without: "seccomp" },
];

const without = HOSTS.map((host) => host.without);
// A script is the same from source and compiled: only the stage that starts it is not, which the attacks try both ways.
const reports = startedOnce((user) => runEverydayAs({ user, compiled: true, without }));

for (const user of USERS) {
  for (const [at, { title }] of HOSTS.entries()) {
    test(
      `${title}: ${user}`,
      async () => {
        const { facts, off, on } = (await reports(user))[at]!;
        const failing = off.filter((item) => !item.ok);
        // A command that fails unconfined says nothing about the sandbox.
        expect(failing).toEqual([]);
        const told = new Set(everydayGaps(facts).flatMap((gap) => gap.commands));
        expect(on.filter((item) => !item.ok && !told.has(item.id))).toEqual([]);
      },
      4 * MINUTES,
    );
  }
}

test("the table is as long as it should be", () => {
  expect(possibleCommands().length).toBeGreaterThan(30);
});
