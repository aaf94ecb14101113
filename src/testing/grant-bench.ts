import { mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import { decideGrant, type GrantRequest } from "../model/grant-decision.ts";
import { type PermissionsInput, permissionsSchema, type ResourcesInput } from "../model/permissions.ts";
import { policySchema } from "../model/policy.ts";

const FOLDERS = [
  ...["home/config/certificates", "home/data/state", "home/data/plugins", "home/logs/audit"],
  ...["home/scripts", "home/bin", "srv/allowed/sub", "srv/other"],
];
const FILES = ["home/app.log", "home/bin/tool", "home/scripts/run.sh", "home/control.sock", "srv/other/file"];

export interface GrantCase {
  permissions?: PermissionsInput;
  resources?: ResourcesInput;
  settings?: GrantRequest["settings"];
  policy?: v.InferInput<typeof policySchema>;
  canHide?: boolean;
  settingsSchema?: GrantRequest["settingsSchema"];
}

/** An agent's home and a folder `srv` beside it, with links that lead astray. `DIR` and `HOME` stand for both in texts. */
export function grantBench() {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), "holdfast-grant-")));
  const home = join(dir, "home");
  for (const folder of FOLDERS) mkdirSync(join(dir, folder), { recursive: true });
  for (const file of FILES) writeFileSync(join(dir, file), "");
  symlinkSync(join(dir, "srv/other"), join(dir, "srv/allowed/link"));
  symlinkSync(join(home, "config/certificates"), join(dir, "srv/allowed/keys"));
  symlinkSync(join(dir, "srv/none"), join(dir, "srv/allowed/dangling"));
  const inHome = (...paths: string[]) => paths.map((path) => join(home, path));
  const places = {
    home,
    protectedWrite: inHome("config", "data/state", "data/plugins", "logs/audit"),
    protectedRead: inHome("config/certificates", "data/state"),
    protectedUnix: inHome("control.sock"),
  };
  const here = <T>(value: T): T =>
    JSON.parse(JSON.stringify(value).replaceAll("DIR", dir).replaceAll("HOME", home)) as T;
  const shorten = <T>(value: T): T =>
    JSON.parse(JSON.stringify(value).replaceAll(home, "HOME").replaceAll(dir, "DIR")) as T;

  function decide({ permissions = {}, resources = {}, settings = {}, policy = {}, ...more }: GrantCase) {
    return decideGrant({
      name: "sample",
      permissions: v.parse(permissionsSchema, here(permissions)),
      resources,
      settings: here(settings),
      policy: v.parse(policySchema, here(policy)),
      places,
      realpath,
      ...here(more),
    });
  }

  return {
    granted(each: GrantCase) {
      const decision = decide(each);
      if (decision.kind === "refused") throw new Error(decision.reasons.join("\n"));
      return shorten(decision);
    },
    reasons(each: GrantCase): string[] {
      const decision = decide(each);
      if (decision.kind === "granted") throw new Error(`granted ${JSON.stringify(decision.grant)}`);
      return shorten(decision.reasons);
    },
    close: () => rmSync(dir, { recursive: true, force: true }),
  };
}

/** As production code does it. */
const realpath: GrantRequest["realpath"] = (path) => {
  try {
    const real = realpathSync(path);
    return { path: real, kind: statSync(real).isDirectory() ? "folder" : "file" };
  } catch {
    return null;
  }
};
