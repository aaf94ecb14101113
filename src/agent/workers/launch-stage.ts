import { closeSync, writeSync } from "node:fs";
import { HoldfastError } from "../../core/errors.ts";
import type { KernelFacts } from "./sandbox/kernel-facts.ts";
import type { LaunchPolicy, SeccompPolicy } from "./sandbox/launch-policy.ts";
import { seccompFilter } from "./sandbox/seccomp-filter.ts";
import type { Arch } from "./sandbox/syscalls.ts";
import type { ScriptPipes } from "./scripts/script-pipes.ts";
import type { SelfCommand } from "./self-command.ts";

const CHANNEL_FD = 3;
export const CALL_FD = 4;

/** Stage 1 as a process: it waits for its policy, and then becomes the worker's program. */
export interface Stage {
  child: Bun.Subprocess<"pipe", "pipe", "pipe">;
  /** A script's; a host has the ones that Bun makes. */
  pipes: ScriptPipes | null;
  /** The agent's ends of its channels; whoever adopts them closes them. */
  channelFd: number;
  callFd: number | null;
}

export interface StageOptions {
  self: SelfCommand;
  /** What goes in front of it; see `launchPrefix`. */
  prefix: string[];
  /** Folder of the workers' folders. */
  workdir: string;
  stdin: "ignore" | "pipe";
  /** Real pipes for a script; they stay open at both ends until the policy was sent. */
  pipes: ScriptPipes | null;
  /** It has a second channel. */
  calls: boolean;
}

export function startStage({ self, prefix, workdir, stdin, pipes, calls }: StageOptions): Stage {
  const [input, output, errors] = pipes?.child ?? [stdin, "pipe", "pipe"];
  const child = Bun.spawn([...prefix, ...self.command, "__launch"], {
    // Nothing of the worker's is known to it yet, and nothing that a worker wrote may reach into it.
    cwd: "/",
    env: stageEnvironment(workdir),
    // Socket pairs whose ends here belong to the channels, which close them.
    stdio: [input, output, errors, "socket-fd", ...(calls ? ["socket-fd"] : [])] as unknown as [
      "pipe",
      "pipe",
      "pipe",
    ],
    // A session of its own: a kill reaches everything it started, and Ctrl-C in a terminal reaches only the agent.
    detached: true,
  });
  return {
    child,
    pipes,
    channelFd: child.stdio[CHANNEL_FD] as unknown as number,
    callFd: (child.stdio[CALL_FD] as unknown as number | undefined) ?? null,
  };
}

/** What it waits for. Throws when it is gone. */
export function sendPolicy(stage: Stage, policy: LaunchPolicy, arch: KernelFacts["arch"]): void {
  const { channelFd, callFd, pipes, child } = stage;
  writeFrame(channelFd, {
    ...policy,
    ...(callFd === null ? {} : { keepFds: CALL_FD + 1 }),
    ...(policy.seccomp && arch !== "other" ? { filter: madeFilter(policy.seccomp, arch, child.pid) } : {}),
  });
  pipes?.closeChild();
}

/** Code that runs here often is fast; in a process that has just started it takes a millisecond. */
function madeFilter(policy: SeccompPolicy, arch: Arch, pid: number): string {
  return Buffer.from(seccompFilter(policy, arch, pid).buffer).toString("base64");
}

/** Ends one that nobody needs any more. */
export function discardStage({ child, pipes, channelFd, callFd }: Stage): void {
  child.kill("SIGKILL");
  closeSync(channelFd);
  if (callFd !== null) closeSync(callFd);
  if (!pipes) return;
  pipes.closeChild();
  const closing: Promise<unknown>[] = [pipes.stdout.cancel(), pipes.stderr.cancel()];
  closing.push(Promise.resolve(pipes.stdin.end()));
  void Promise.allSettled(closing);
}

/** For stage 1, which is our own code and keeps no files. */
function stageEnvironment(workdir: string): Record<string, string> {
  return { PATH: "/usr/bin:/bin", HOME: workdir, TMPDIR: workdir, BUN_RUNTIME_TRANSPILER_CACHE_PATH: "0" };
}

function writeFrame(fd: number, value: unknown): void {
  const body = Buffer.from(JSON.stringify(value));
  const frame = Buffer.allocUnsafe(4 + body.length);
  frame.writeUInt32BE(body.length, 0);
  body.copy(frame, 4);
  // A fresh socket pair takes far more than a policy at once.
  const written = writeSync(fd, frame);
  if (written !== frame.length)
    throw new HoldfastError("failed", "the launch policy does not fit the channel");
}
