/** Runs the suite as a process of its own, so that it can be another user's. */
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildExecutable } from "../e2e/harness.ts";
import { killStrays } from "./family.ts";
import type { EverydayReport, GrantedReport, SuiteReport } from "./guest-main.ts";

export type User = "root" | "uid 65534";
/** Both where that is possible: an ordinary user cannot become root. */
export const USERS: User[] = process.getuid!() === 0 ? ["root", "uid 65534"] : ["uid 65534"];
if (USERS.length === 1) console.error("NOT ROOT: the sandbox of an agent that is root is not tried here");

export interface SuiteRun {
  user: User;
  compiled: boolean;
  only?: string;
}

/** Parts of the kernel that a host lacks, as `guest-main.ts` takes them. */
export interface HostsRun extends SuiteRun {
  without: string[];
}

/** Shorter than the timeouts of the tests, which would leave the process behind. */
const LONGEST_MS = 200_000;

export function runSuiteAs(run: SuiteRun): Promise<SuiteReport> {
  return report<SuiteReport>(run, "suite");
}

/** One report for each host, in this order. */
export function runDegradedAs(run: HostsRun): Promise<SuiteReport[]> {
  return report<SuiteReport[]>(run, "degraded");
}

export function runEverydayAs(run: HostsRun): Promise<EverydayReport[]> {
  return report<EverydayReport[]>(run, "everyday");
}

export function runGrantedAs(run: HostsRun): Promise<GrantedReport[]> {
  return report<GrantedReport[]>(run, "granted");
}

/** One run for all tests of a file, started by the first: each user's, side by side, since both mostly wait. */
export function startedOnce<T>(run: (user: User) => Promise<T>): (user: User) => Promise<T> {
  let runs: Map<User, Promise<T>> | undefined;
  return async (user) => {
    runs ??= new Map(USERS.map((each) => [each, run(each)]));
    // One that fails while another is waited for is told by its own tests.
    for (const each of runs.values()) each.catch(() => {});
    return await runs.get(user)!;
  };
}

async function report<T>(run: SuiteRun & { without?: string[] }, what: string): Promise<T> {
  const args = [what, "--json"];
  if (run.compiled) args.push("--holdfast", await buildExecutable());
  for (const list of run.without ?? []) args.push("--without", list);
  if (run.only) args.push("--only", run.only);
  const folder = mkdtempSync(join(tmpdir(), "holdfast-suite-"));
  chmodSync(folder, 0o777);
  try {
    return await reportOf<T>(run.user, args, folder);
  } finally {
    killStrays(folder);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function reportOf<T>(user: User, args: string[], folder: string): Promise<T> {
  const become =
    user === "root" || process.getuid!() !== 0 ? [] : ["--reuid=65534", "--regid=65534", "--clear-groups"];
  const program = [process.execPath, join(import.meta.dir, "guest-main.ts"), ...args];
  const child = Bun.spawn(["setpriv", ...become, "--pdeathsig=KILL", ...program], {
    // A folder that every user may enter, and no home: Bun must not look for its files there.
    cwd: "/",
    env: { PATH: process.env.PATH!, HOME: "/nonexistent", LANG: "C.UTF-8", TMPDIR: folder },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: LONGEST_MS,
    killSignal: "SIGKILL",
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
      `the suite as ${user} broke off (exit code ${child.exitCode}):\n${stderr}\n${stdout.slice(-2000)}`,
    );
  }
}
