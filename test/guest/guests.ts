import type { Protection, ProtectionName } from "../../src/model/protection.ts";

export type Level = Protection["level"];
export type Levels = Record<ProtectionName, Level>;

/** In which role an agent runs in a guest: root, an ordinary user, and that user in a unit with delegated cgroups. */
export const ROLES = ["root", "user", "unit"] as const;
export type Role = (typeof ROLES)[number];

export interface Guest {
  name: string;
  /** Beginning of the kernel's version. */
  kernel: string;
  /** Added to the kernel's command line. */
  arguments: string[];
  /** What `holdfast doctor` must say there. */
  levels: Record<Role, Levels>;
  /** As whom `holdfast up` runs its sample automation: emulated, it takes its time, so each role has its turn somewhere. */
  up: Role;
  /** As whom the escape suite is run. */
  suite: "root" | "user";
  /** As whom the everyday commands are run; `restricted` is the user after user namespaces were switched off. */
  everyday: ("root" | "user" | "restricted")[];
  /** What must hold limits there, where no other guest shows it. */
  limits: "controllers" | "watch" | null;
  /** For the ordinary user, after user namespaces were switched off. */
  withoutNamespaces: Levels;
}

const levels = (filesystem: Level, network: Level, calls: Level, limits: Level): Levels => ({
  filesystem,
  network,
  "system calls": calls,
  limits,
});

/** The same three levels for every role; the limits are the kernel's own only in a unit with delegated cgroups v2. */
function byRole(filesystem: Level, network: Level, calls: Level, delegated: Level): Record<Role, Levels> {
  const alone = levels(filesystem, network, calls, "partial");
  return { root: alone, user: alone, unit: levels(filesystem, network, calls, delegated) };
}

/** The hosts that DESIGN section 8 must hold on, besides the one that the other tests run on. */
export const GUESTS: Guest[] = [
  {
    // No rules for ports, and none for signals.
    name: "Linux 6.1 (Landlock 2)",
    kernel: "6.1.",
    arguments: [],
    levels: byRole("enforced", "partial", "partial", "enforced"),
    up: "unit",
    suite: "user",
    everyday: ["user"],
    limits: "controllers",
    withoutNamespaces: levels("partial", "partial", "partial", "partial"),
  },
  {
    name: "Linux 6.12 (Landlock 6)",
    kernel: "6.12.",
    arguments: [],
    levels: byRole("enforced", "enforced", "enforced", "enforced"),
    up: "root",
    suite: "root",
    everyday: ["root", "restricted"],
    limits: "controllers",
    withoutNamespaces: levels("enforced", "enforced", "enforced", "partial"),
  },
  {
    name: "Linux 6.12 without Landlock",
    kernel: "6.12.",
    arguments: ["lsm=capability,yama,apparmor"],
    levels: byRole("partial", "partial", "partial", "enforced"),
    up: "user",
    suite: "user",
    everyday: ["user"],
    limits: null,
    withoutNamespaces: levels("missing", "partial", "partial", "partial"),
  },
  {
    name: "Linux 6.1 with cgroup v1",
    kernel: "6.1.",
    arguments: ["systemd.unified_cgroup_hierarchy=0", "systemd.legacy_systemd_cgroup_controller=0"],
    levels: byRole("enforced", "partial", "partial", "partial"),
    up: "unit",
    suite: "root",
    everyday: ["restricted"],
    limits: "watch",
    withoutNamespaces: levels("partial", "partial", "partial", "partial"),
  },
];
