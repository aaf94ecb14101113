import { firstOf, type Programs } from "./programs.ts";

type Command = [string, ...string[]];

/**
 * apt-get: local changes to configuration files are kept, a lock of another run is waited for, and a name is a name: without
 * `Pattern-Only` an unknown one is taken for a regular expression.
 */
const APT_OPTIONS = [
  "--yes",
  "--quiet",
  "--option=Dpkg::Options::=--force-confdef",
  "--option=Dpkg::Options::=--force-confold",
  "--option=DPkg::Lock::Timeout=120",
  "--option=APT::Cmd::Pattern-Only=true",
];

/** Fixed argument lists of the host's package manager; nothing asks, nothing is installed or removed that need not be. */
export function upgradeCommands(programs: Programs, name: string | null, refresh: boolean): Command[] {
  const [manager, program] = firstOf(programs, "packages.upgrade", ["apt-get", "dnf", "zypper"]);
  switch (manager) {
    case "apt-get": {
      const upgrade = name === null ? ["upgrade"] : ["install", "--only-upgrade", "--", name];
      const lists: Command[] = refresh ? [[program, "--quiet", "update"]] : [];
      return [...lists, [program, ...APT_OPTIONS, ...upgrade]];
    }
    case "dnf": {
      const options = ["--assumeyes", "--quiet", ...(refresh ? ["--refresh"] : [])];
      return [[program, ...options, "upgrade", ...(name === null ? [] : [name])]];
    }
    default: {
      const options = ["--non-interactive", "--quiet"];
      const lists: Command[] = refresh ? [[program, ...options, "refresh"]] : [];
      return [...lists, [program, ...options, "update", ...(name === null ? [] : ["--", name])]];
    }
  }
}
