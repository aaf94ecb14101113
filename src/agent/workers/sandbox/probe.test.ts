import { until } from "../../../testing/until.ts";
import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { AS_NOBODY, testCommand } from "../../../testing/stage-one-rig.ts";
import type { KernelFacts } from "./kernel-facts.ts";
import { landlockAbi } from "./landlock.ts";
import { openKernel } from "./libc.ts";
import { probeKernel } from "./probe.ts";
import { whyNoNamespace } from "./user-namespaces.ts";

const ROOT = process.getuid!() === 0;

function checkAgreement(facts: KernelFacts) {
  expect(facts.reasons.landlock === undefined).toBe(facts.landlockAbi > 0);
  for (const name of ["seccomp", "mountNamespace", "netNamespace"] as const) {
    expect(`${name} ${facts.reasons[name] === undefined}`).toBe(`${name} ${facts[name]}`);
  }
}

test("finds what this kernel has, and leaves nothing behind", async () => {
  const before = readdirSync("/proc/self/fd").length;
  const foldersBefore = new Set(readdirSync(tmpdir()));
  const facts = await probeKernel(testCommand());
  expect(facts).toMatchObject({ root: ROOT, arch: process.arch as "x64" });
  expect(facts.landlockAbi).toBe(landlockAbi(openKernel()));
  expect(facts.seccomp).toBe(existsSync("/proc/sys/kernel/seccomp/actions_avail"));
  checkAgreement(facts);
  // Other tests probe at the same time: only what stays is left behind.
  const left = () =>
    readdirSync(tmpdir()).filter((name) => name.startsWith("holdfast-probe-") && !foldersBefore.has(name));
  await until("no folder is left", () => left().length === 0);
  expect(readdirSync("/proc/self/fd").length).toBeLessThanOrEqual(before + 1);
});

test.skipIf(!ROOT)("as an ordinary user too", async () => {
  const script = `
    import { probeKernel } from ${JSON.stringify(import.meta.resolve("./probe.ts"))};
    console.log(JSON.stringify(await probeKernel(${JSON.stringify(testCommand())})));`;
  const child = Bun.spawn([...AS_NOBODY, process.execPath, "-e", script], {
    cwd: "/",
    env: { PATH: "/usr/bin:/bin:/usr/sbin", HOME: "/nonexistent", TMPDIR: "/tmp" },
    stderr: "inherit",
  });
  const facts = JSON.parse(await new Response(child.stdout).text()) as KernelFacts;
  expect(facts.root).toBe(false);
  checkAgreement(facts);
});

test("a command that is no launcher: everything missing, with the reason", async () => {
  for (const command of [["/bin/false"], ["/nowhere/holdfast"]]) {
    const facts = await probeKernel(command);
    expect(facts).toMatchObject({
      landlockAbi: 0,
      seccomp: false,
      mountNamespace: false,
      netNamespace: false,
    });
    checkAgreement(facts);
  }
});

test("why there are no namespaces", () => {
  const none = () => null;
  expect(whyNoNamespace("mount namespace: EPERM", (path) => (path.includes("apparmor") ? "1" : null))).toBe(
    "user namespaces are restricted here (kernel.apparmor_restrict_unprivileged_userns=1)",
  );
  expect(whyNoNamespace("unshare failed", (path) => (path.includes("max_user") ? "0" : "1"))).toContain(
    "user.max_user_namespaces=0",
  );
  expect(whyNoNamespace("/usr/bin/unshare cannot be started: ENOENT", none)).toContain("is missing");
  expect(whyNoNamespace("unshare: unrecognized option '--keep-caps'", none)).toContain("too old");
  expect(whyNoNamespace("mount namespace: EPERM", none)).toBe("mount namespace: EPERM, in a user namespace");
});
