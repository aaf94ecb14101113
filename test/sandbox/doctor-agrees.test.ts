/**
 * What `doctor` says of a host and what the attacks find there, both ways. The host's own kernel is one row; for the
 * others, parts of it are left out, as on older and restricted ones. Booted guests do the same on real ones.
 */
import { expect, test } from "bun:test";
import { PROTECTION_LEVELS } from "../../src/model/protection.ts";
import { runDegradedAs, startedOnce, USERS } from "./suite-process.ts";

const MINUTES = 60_000;
/** Without the attacks on limits, which take the longest and depend on cgroups alone. */
const QUICK = "^(?!memory|spin|disk|process\\.bomb|thread|descriptor)";

const HOSTS: { title: string; without: string }[] = [
  { title: "no namespaces", without: "mountNamespace,netNamespace" },
  { title: "Landlock ABI 2", without: "abi=2" },
  { title: "Landlock ABI 2, no namespaces", without: "abi=2,mountNamespace,netNamespace" },
  { title: "no Landlock", without: "landlock" },
  { title: "no Landlock, no namespaces", without: "landlock,mountNamespace,netNamespace" },
  { title: "no seccomp", without: "seccomp" },
  { title: "nothing at all", without: "landlock,seccomp,mountNamespace,netNamespace,cgroup" },
];

const without = HOSTS.map((host) => host.without);
const reports = startedOnce((user) => runDegradedAs({ user, compiled: true, without, only: QUICK }));

for (const user of USERS) {
  for (const [at, { title }] of HOSTS.entries()) {
    test(
      `${title}: ${user}`,
      async () => {
        const { problems, protections, tooCareful } = (await reports(user))[at]!;
        const levels = PROTECTION_LEVELS.map((name) => `${name} ${protections[name].level}`).join(", ");
        console.log(`${title}, ${user}: ${levels}; stopped though listed: ${tooCareful.length}`);
        expect(problems).toEqual([]);
      },
      4 * MINUTES,
    );
  }
}
