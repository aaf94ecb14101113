import { readFileSync } from "node:fs";

/** Switches that keep an ordinary user from a user namespace, or from any right in one, and the values that do. */
const SWITCHES: { path: string; value: string; setting: string }[] = [
  { path: "/proc/sys/user/max_user_namespaces", value: "0", setting: "user.max_user_namespaces=0" },
  {
    path: "/proc/sys/kernel/unprivileged_userns_clone",
    value: "0",
    setting: "kernel.unprivileged_userns_clone=0",
  },
  {
    path: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
    value: "1",
    setting: "kernel.apparmor_restrict_unprivileged_userns=1",
  },
];

/** What this host says about user namespaces, put in words. `failure` is what was tried last. */
export function whyNoNamespace(failure: string, read: (path: string) => string | null = readSwitch): string {
  if (/cannot be started/.test(failure)) return "the program /usr/bin/unshare (util-linux) is missing";
  if (/unrecognized option|invalid option/.test(failure)) {
    return "the program /usr/bin/unshare is too old (util-linux 2.35 or newer is needed)";
  }
  const found = SWITCHES.find(({ path, value }) => read(path) === value);
  return found ? `user namespaces are restricted here (${found.setting})` : `${failure}, in a user namespace`;
}

function readSwitch(path: string): string | null {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return null;
  }
}
