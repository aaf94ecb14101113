/** Starts the executable in the three roles of a guest. */
import { chownSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Role } from "../guests.ts";

/** The guest's ordinary user, made by build-image.sh. */
const USER = "watcher";
const HOMES = "/srv";
/** These are for what hangs, not for what is slow: an emulated machine may be, and so may the one that emulates it. */
const RUN_LIMIT_MS = 380_000;
const READY_LIMIT_MS = 180_000;
const UNTIL_LIMIT_MS = 180_000;

export interface Finished {
  code: number | null;
  out: string;
  err: string;
}

export interface Running {
  /** The first JSON line that says `ready`. */
  ready: Record<string, any>;
  /** Everything it said. */
  said(): string;
  /** SIGTERM; gives the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL to the agent's side as a whole. */
  kill(): Promise<void>;
}

const uidOf = (name: string) => Number(run(["id", "-u", name]).out);

/** An empty folder that belongs to the role's user. */
export function freshFolder(role: Role, name: string): string {
  const folder = join(HOMES, `${role}-${name}`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  giveTo(role, folder);
  return folder;
}

export function giveTo(role: Role, path: string): void {
  if (role !== "root") chownSync(path, uidOf(USER), uidOf(USER));
}

/** Runs a program of the guest to its end; one that hangs is ended, and has no exit code. */
export function run(command: string[]): Finished {
  const done = Bun.spawnSync(command, { env: environment(), stdin: "ignore", timeout: RUN_LIMIT_MS });
  return { code: done.exitCode, out: done.stdout.toString(), err: done.stderr.toString() };
}

/** Runs a program to its end as the role's user; in a unit of its own for `unit`. */
export function runAs(role: Role, command: string[]): Finished {
  return run(commandOf(role, command, `holdfast-${role}-once`));
}

export function holdfast(executable: string, role: Role, args: string[]): Finished {
  return runAs(role, [executable, ...args]);
}

/** Starts a command that prints a ready line of the executable; `name` is part of its unit's. */
export async function start(
  role: Role,
  name: string,
  command: string[],
  limitMs = READY_LIMIT_MS,
): Promise<Running> {
  const unit = `holdfast-${name}-${crypto.randomUUID().slice(0, 8)}`;
  const child = Bun.spawn(commandOf(role, command, unit), {
    env: environment(),
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  let out = "";
  let all = "";
  const read = async (stream: ReadableStream<Uint8Array>, isOut: boolean) => {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      const text = decoder.decode(chunk, { stream: true });
      if (isOut) out += text;
      all = (all + text).slice(-200_000);
    }
  };
  const reading = Promise.all([read(child.stdout, true), read(child.stderr, false)]);
  const finish = async (signal: "SIGTERM" | "SIGKILL") => {
    if (role === "unit")
      run(["systemctl", ...(signal === "SIGTERM" ? ["stop"] : ["kill", "-s", signal]), unit]);
    else child.kill(signal);
    await child.exited;
    await reading;
    return child.exitCode;
  };
  try {
    await until(
      `"${command.join(" ")}" to be ready`,
      () => readyLine(out) !== undefined || child.exitCode !== null,
      limitMs,
    );
    const ready = readyLine(out);
    if (ready === undefined) throw new Error(`"${command.join(" ")}" ended with ${child.exitCode}`);
    return {
      ready,
      said: () => all,
      stop: () => finish("SIGTERM"),
      kill: async () => void (await finish("SIGKILL")),
    };
  } catch (error) {
    await finish("SIGKILL");
    throw new Error(`${(error as Error).message}\n${all}`);
  }
}

/** Waits for a condition. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  limitMs = UNTIL_LIMIT_MS,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited ${limitMs} ms in vain for ${what}`);
    await Bun.sleep(50);
  }
}

function commandOf(role: Role, command: string[], unit: string): string[] {
  if (role === "root") return command;
  if (role === "user") {
    return [
      "setpriv",
      `--reuid=${USER}`,
      `--regid=${USER}`,
      "--clear-groups",
      "env",
      `HOME=/home/${USER}`,
      ...command,
    ];
  }
  const properties = [
    `User=${USER}`,
    "Delegate=cpu memory pids",
    "OOMPolicy=continue",
    "KillMode=mixed",
    "TimeoutStopSec=60",
  ];
  return [
    ...["systemd-run", "--quiet", "--pipe", "--wait", "--collect", `--unit=${unit}`],
    ...properties.flatMap((property) => ["-p", property]),
    ...command,
  ];
}

/** Without what made this executable a Bun. */
function environment(): Record<string, string> {
  const entries = Object.entries(process.env).filter(([name]) => !/^(HOLDFAST|BUN)_/.test(name));
  return { ...Object.fromEntries(entries as [string, string][]), NO_COLOR: "1" };
}

function readyLine(output: string): Record<string, any> | undefined {
  for (const line of output.split("\n").slice(0, -1)) {
    if (!line.startsWith("{")) continue;
    const value = JSON.parse(line) as Record<string, any>;
    if (value.ready === true) return value;
  }
  return undefined;
}
