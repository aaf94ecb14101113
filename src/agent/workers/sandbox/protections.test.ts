import { describe, expect, test } from "bun:test";
import { ATTACKS } from "../../../../test/sandbox/attacks/all.ts";
import { PROTECTION_LEVELS, type Protections } from "../../../model/protection.ts";
import type { KernelFacts } from "./kernel-facts.ts";
import { protectionsOf } from "./protections.ts";

const FULL: KernelFacts = {
  kernel: "6.12.0",
  arch: "x64",
  root: false,
  landlockAbi: 6,
  seccomp: true,
  mountNamespace: true,
  netNamespace: true,
  cgroup: { kind: "v2", folder: "/g", controllers: ["memory", "pids", "cpu"], reason: "delegated" },
  reasons: {},
};
const LIMITED = { cgroup: { kind: "none" as const, reason: "/sys/fs/cgroup is not cgroup v2" } };
const levels = (protections: Protections) => PROTECTION_LEVELS.map((name) => protections[name].level);

describe("levels: filesystem, network, system calls, limits", () => {
  const rows: [string, Partial<KernelFacts>, boolean, string[]][] = [
    ["everything", {}, false, ["enforced", "enforced", "enforced", "enforced"]],
    ["no cgroup", LIMITED, false, ["enforced", "enforced", "enforced", "partial"]],
    [
      "a controller missing",
      { cgroup: { kind: "v2", folder: "/g", controllers: ["memory", "pids"], reason: "no cpu" } },
      false,
      ["enforced", "enforced", "enforced", "partial"],
    ],
    [
      "no namespaces",
      { mountNamespace: false, netNamespace: false },
      false,
      ["enforced", "enforced", "enforced", "enforced"],
    ],
    ["ABI 5", { landlockAbi: 5 }, false, ["enforced", "enforced", "partial", "enforced"]],
    ["ABI 2", { landlockAbi: 2 }, true, ["enforced", "partial", "partial", "enforced"]],
    [
      "ABI 2, no namespaces",
      { landlockAbi: 2, mountNamespace: false },
      true,
      ["partial", "partial", "partial", "enforced"],
    ],
    ["no Landlock", { landlockAbi: 0 }, true, ["partial", "partial", "partial", "enforced"]],
    [
      "no Landlock, no namespaces",
      { landlockAbi: 0, mountNamespace: false },
      true,
      ["missing", "partial", "partial", "enforced"],
    ],
    ["no seccomp", { seccomp: false }, false, ["enforced", "partial", "missing", "enforced"]],
    [
      "no seccomp, no namespaces",
      { seccomp: false, mountNamespace: false },
      false,
      ["partial", "partial", "missing", "enforced"],
    ],
    [
      "no seccomp, ABI 3",
      { seccomp: false, landlockAbi: 3 },
      false,
      ["enforced", "missing", "missing", "enforced"],
    ],
  ];
  test.each(rows)("%s", (_name, facts, uid, expected) => {
    const protections = protectionsOf({ ...FULL, ...facts }, "on", { uid });
    expect(levels(protections)).toEqual(expected as never);
    for (const name of PROTECTION_LEVELS) {
      const { level, reason, fix, unprotected } = protections[name];
      expect(reason.length).toBeGreaterThan(10);
      expect(fix === undefined).toBe(level === "enforced");
      if (level === "enforced") expect(unprotected).toEqual([]);
      if (level === "missing") expect(unprotected.length).toBeGreaterThan(0);
    }
  });

  test("reasons say what this host says", () => {
    const facts = {
      ...FULL,
      ...LIMITED,
      landlockAbi: 0,
      reasons: { landlock: "Linux 5.4 is without Landlock" },
    };
    const { limits, filesystem } = protectionsOf(facts, "on", { uid: false });
    expect(limits.reason).toContain("/sys/fs/cgroup is not cgroup v2");
    expect(filesystem.reason).toStartWith("Linux 5.4 is without Landlock");
  });
});

test("off: nothing of what the suite knows is stopped", () => {
  const protections = protectionsOf(FULL, "off", { uid: true });
  for (const name of PROTECTION_LEVELS) {
    const known = ATTACKS.filter(({ level }) => level === name).map(({ id }) => id);
    expect(protections[name].unprotected.toSorted()).toEqual(known.toSorted());
    expect(protections[name].level).toBe("missing");
  }
});
