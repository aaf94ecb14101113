/** Runs the suite as a process of its own, so that it can be another user's. */
import { join } from "node:path";
import { buildExecutable } from "../e2e/harness.ts";
import type { EverydayReport, GrantedReport, SuiteReport } from "./guest-main.ts";

export type User = "root" | "uid 65534";
/** Both where that is possible: an ordinary user cannot become root. */
export const USERS: User[] = process.getuid!() === 0 ? ["root", "uid 65534"] : ["uid 65534"];
if (USERS.length === 1) console.error("NOT ROOT: the sandbox of an agent that is root is not tried here");

export interface SuiteRun {
  user: User;
  compiled: boolean;
  without?: string;
  only?: string;
}

export function runSuiteAs(run: SuiteRun): Promise<SuiteReport> {
  return report<SuiteReport>(run, "suite");
}

export function runEverydayAs(run: SuiteRun): Promise<EverydayReport> {
  return report<EverydayReport>(run, "everyday");
}

export function runGrantedAs(run: SuiteRun): Promise<GrantedReport> {
  return report<GrantedReport>(run, "granted");
}

async function report<T>(run: SuiteRun, what: string): Promise<T> {
  const args = [what, "--json"];
  if (run.compiled) args.push("--holdfast", await buildExecutable());
  if (run.without) args.push("--without", run.without);
  if (run.only) args.push("--only", run.only);
  const become =
    run.user === "root" || process.getuid!() !== 0
      ? []
      : ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const child = Bun.spawn([...become, process.execPath, join(import.meta.dir, "guest-main.ts"), ...args], {
    // A folder that every user may enter, and no home: Bun must not look for its files there.
    cwd: "/",
    env: { PATH: process.env.PATH!, HOME: "/nonexistent", LANG: "C.UTF-8" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const [stdout, stderr] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
  ]);
  await child.exited;
  try {
    return JSON.parse(stdout.trim().split("\n").at(-1)!) as T;
  } catch {
    throw new Error(
      `the suite as ${run.user} broke off (exit code ${child.exitCode}):\n${stderr}\n${stdout.slice(-2000)}`,
    );
  }
}
