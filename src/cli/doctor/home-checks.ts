import { readdirSync, type Stats, statfsSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { AgentHome } from "../../agent/config/home.ts";
import { messageOf, systemCode } from "../../core/errors.ts";
import type { DoctorCheck } from "./report.ts";

/** Below this the agent's store stops taking events soon. */
const LEAST_FREE_BYTES = 64 * 1024 ** 2;
const LITTLE_FREE_BYTES = 1024 ** 3;
const MB = 1024 ** 2;

/** The user that the agent runs as: who owns its home. */
export function agentUid(home: AgentHome): number | null {
  return statSync(home.root, { throwIfNoEntry: false })?.uid ?? null;
}

/** Owners and modes of everything in the home that others must not change, or not even read. */
export function homeCheck(home: AgentHome): DoctorCheck {
  const name = "home";
  const wrong: string[] = [];
  const unseen: string[] = [];
  const fixes: string[] = [];
  const owner = agentUid(home);
  const look = (path: string, secret: boolean) => {
    const found = statOf(path);
    if (found === "absent") return;
    if (found === "unseen") return void unseen.push(path);
    const mode = found.mode & 0o777;
    const excess = mode & (secret ? 0o077 : 0o022);
    if (excess !== 0) {
      const who = (excess & 0o007) !== 0 ? "everybody" : "its group";
      const may = (excess & 0o022) !== 0 ? "write" : "look into";
      wrong.push(`${who} may ${may} ${path} (mode ${mode.toString(8)})`);
      fixes.push(`chmod ${secret ? "go=" : "go-w"} ${path}`);
    }
    if (found.uid !== owner && found.uid !== 0) {
      wrong.push(`${path} belongs to uid ${found.uid}, the home to uid ${owner}`);
      fixes.push(`chown ${owner} ${path}`);
    }
  };
  const open = [
    home.root,
    home.config,
    home.configFile,
    home.confDir,
    home.policyFile,
    home.data,
    home.plugins,
  ];
  for (const path of [...open, home.cache, home.state, home.database, home.logs, home.workdir])
    look(path, false);
  for (const path of [home.certificates, home.pluginSettings, ...keysIn(home.certificates)]) look(path, true);
  if (wrong.length > 0) return { name, state: "failed", detail: wrong.join("; "), fix: fixes.join("; ") };
  if (unseen.length > 0) {
    return {
      name,
      state: "note",
      detail: `this user may not look at ${unseen.join(", ")}`,
      fix: `run it as uid ${owner}, the agent's user`,
    };
  }
  return { name, state: "ok", detail: `${home.root} belongs to uid ${owner}; only it may write there` };
}

/** Room on the file system of a folder. */
export function diskCheck(folder: string): DoctorCheck {
  const name = "disk";
  try {
    const { bavail, bsize, blocks, ffree, files } = statfsSync(folder);
    const free = bavail * bsize;
    const share = blocks === 0 ? 100 : Math.floor((bavail / blocks) * 100);
    const detail = `${Math.floor(free / MB)} MB (${share} %) free in ${folder}`;
    const fix = "make room, or move the home with --home";
    if (files > 0 && ffree === 0)
      return { name, state: "failed", detail: `no inodes are left in ${folder}`, fix };
    if (free < LEAST_FREE_BYTES) return { name, state: "failed", detail, fix };
    return free < LITTLE_FREE_BYTES ? { name, state: "note", detail, fix } : { name, state: "ok", detail };
  } catch (error) {
    return { name, state: "note", detail: `cannot tell how full ${folder} is: ${messageOf(error)}` };
  }
}

/** True when this user may change the file, or put another one in its place. */
export function mayReplace(path: string, uid: number): boolean {
  if (uid === 0) return true;
  for (let at = path; ; at = dirname(at)) {
    const found = statOf(at);
    if (found === "unseen") return false;
    if (found !== "absent") {
      // A sticky folder keeps others' files from being replaced, whatever its mode.
      const sticky = found.isDirectory() && (found.mode & 0o1000) !== 0;
      if (found.uid === uid || (!sticky && (found.mode & 0o002) !== 0)) return true;
    }
    if (at === dirname(at)) return false;
  }
}

function keysIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((file) => file.endsWith(".key"))
      .map((file) => join(folder, file));
  } catch {
    return [];
  }
}

function statOf(path: string): Stats | "absent" | "unseen" {
  try {
    return statSync(path);
  } catch (error) {
    const code = systemCode(error);
    return code === "ENOENT" || code === "ENOTDIR" ? "absent" : "unseen";
  }
}
