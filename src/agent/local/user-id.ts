import { readFileSync } from "node:fs";

/** Name of a local user, as /etc/passwd has it. */
export function localUserName(wanted: number, path = "/etc/passwd"): string | undefined {
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const [user, , uid] = line.split(":");
    if (uid === String(wanted)) return user;
  }
  return undefined;
}

/** Number of a local user, as /etc/passwd has it; undefined when it is not there. Lines are passwd(5). */
export function localUserId(name: string, path = "/etc/passwd"): number | undefined {
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const [user, , uid] = line.split(":");
    if (user === name && uid !== undefined && /^\d+$/.test(uid)) return Number(uid);
  }
  return undefined;
}
