import { mkdirSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";

export interface LaunchOptions {
  /** Command line of the plugin host; see `hostCommand`. */
  command: string[];
  /** Folder (tmp/workdir) in which the worker gets a fresh one of its own. */
  workdir: string;
  /** For the folder's name, so that a person finds it. */
  label: string;
  ids: Ids;
}

export interface Launched {
  pid: number;
  /** The agent's end of the channel; whoever adopts it closes it. */
  channelFd: number;
  stdout: ReadableStream<Uint8Array<ArrayBuffer>>;
  stderr: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Resolves when the process is gone and its folder removed, with how it ended in words. */
  exited: Promise<{ code: number | null; text: string }>;
  /** SIGKILL to the worker's whole process group. */
  kill(): void;
}

/** How this program starts itself as a plugin host: compiled it is the executable, from source Bun on src/main.ts. */
export function hostCommand(): string[] {
  const here = fileURLToPath(import.meta.url);
  if (isEmbedded(here) || isEmbedded(Bun.main)) return [process.execPath, "__host"];
  // --no-install: a plugin's import of a missing package is an error, never a download.
  return [
    process.execPath,
    "--no-install",
    fileURLToPath(new URL("../../main.ts", import.meta.url)),
    "__host",
  ];
}

/** Bun keeps the modules of a compiled executable under a virtual root. */
function isEmbedded(path: string): boolean {
  return path.startsWith("/$bunfs/");
}

/** Starts a plugin host. Nothing of the plugin is loaded before the agent says so on the channel. */
export function launchWorker(options: LaunchOptions): Launched {
  const folder = join(options.workdir, `${options.label}-${options.ids.hex(4)}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const remove = () => rm(folder, { recursive: true, force: true }).catch(() => {});
  // Confinement goes here: the next issue puts `__launch <policy>` in front of this command line (SANDBOX.md,
  // stage 1), passes `cgroup` to the spawn, and stage 1 restricts itself before it becomes the host.
  const command = options.command;
  let child: Bun.Subprocess<"ignore", "pipe", "pipe">;
  try {
    child = Bun.spawn(command, {
      cwd: folder,
      env: workerEnvironment(folder),
      // A socket pair whose end here belongs to the channel, which closes it.
      stdio: ["ignore", "pipe", "pipe", "socket-fd"],
      // A session of its own: a kill reaches everything it started, and Ctrl-C in a terminal reaches only the agent.
      detached: true,
    });
  } catch (error) {
    void remove();
    throw new HoldfastError("failed", `cannot start a plugin host (${command[0]}): ${messageOf(error)}`, {
      cause: error,
    });
  }
  const exited = child.exited.then(async () => {
    // What the worker left behind in its group must not outlive it.
    killGroup(child.pid);
    await remove();
    const text = child.signalCode ? `killed by ${child.signalCode}` : `exit code ${child.exitCode}`;
    return { code: child.exitCode, text };
  });
  return {
    pid: child.pid,
    channelFd: child.stdio[3]!,
    stdout: child.stdout,
    stderr: child.stderr,
    exited,
    kill() {
      killGroup(child.pid);
      child.kill("SIGKILL");
    },
  };
}

/** Empties the folder of the workers' folders. */
export async function removeLeftovers(workdir: string): Promise<void> {
  const names = await readdir(workdir).catch(() => []);
  for (const name of names) await rm(join(workdir, name), { recursive: true, force: true }).catch(() => {});
}

/** Built from nothing: what the agent was started with (tokens, BUN_* options) is not the plugin's business. */
function workerEnvironment(folder: string): Record<string, string> {
  return {
    PATH: "/usr/local/bin:/usr/bin:/bin",
    HOME: folder,
    TMPDIR: folder,
    LANG: "C.UTF-8",
    ...(process.env.TZ === undefined ? {} : { TZ: process.env.TZ }),
  };
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // ESRCH: nobody is left in the group.
  }
}
