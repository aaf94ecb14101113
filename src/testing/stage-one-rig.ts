import { readSync, writeSync } from "node:fs";
import type { LaunchPolicy } from "../agent/workers/sandbox/launch-policy.ts";
import { openKernel } from "../agent/workers/sandbox/libc.ts";
import { selfCommand } from "../agent/workers/self-command.ts";

/** How a test starts this program: the executable that HOLDFAST_TEST_EXECUTABLE names, or Bun on the sources. */
export function testCommand(): string[] {
  const executable = process.env.HOLDFAST_TEST_EXECUTABLE;
  return executable === undefined ? selfCommand().command : [executable];
}

/** Prefixes that make a child start as an ordinary user, and as one with a user namespace of its own. */
export const AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];
export const IN_USER_NAMESPACE = ["/usr/bin/unshare", "-U", "--map-current-user", "--keep-caps", "--"];

export interface Stage {
  pid: number;
  out: string;
  err: string;
  /** Frames that came up, parsed. */
  frames: Record<string, unknown>[];
  code: number | null;
  signal: number | string | null;
}

export interface StageOptions {
  prefix?: string[];
  /** Called for each frame; what it gives back is sent down. */
  answer?: (frame: Record<string, unknown>, pid: number) => unknown;
  env?: Record<string, string>;
  /** Frames that follow the policy at once. */
  then?: unknown[];
}

/** Runs stage 1 with this policy, and what it becomes, to the end. */
export async function runStage(policy: unknown, options: StageOptions = {}): Promise<Stage> {
  const child = Bun.spawn([...(options.prefix ?? []), ...testCommand(), "__launch"], {
    cwd: "/",
    env: { PATH: "/usr/bin:/bin:/usr/sbin:/sbin", HOME: "/", ...options.env },
    stdio: ["ignore", "pipe", "pipe", "socket-fd"] as unknown as ["ignore", "pipe", "pipe"],
  });
  const fd = (child.stdio as unknown as number[])[3]!;
  const reading = Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  for (const frame of [policy, ...(options.then ?? [])]) writeSync(fd, frameOf(frame));
  const frames = await readFrames(fd, (frame) => {
    const answer = options.answer?.(frame, child.pid);
    if (answer !== undefined) writeSync(fd, frameOf(answer));
  });
  const [out, err] = await reading;
  await child.exited;
  openKernel().call("close", fd);
  return { pid: child.pid, out, err, frames, code: child.exitCode, signal: child.signalCode };
}

/** A policy that confines nothing. */
export function openPolicy(argv: string[], change: Partial<LaunchPolicy> = {}): LaunchPolicy {
  const env = { PATH: "/usr/bin:/bin:/usr/sbin:/sbin" };
  return { program: argv[0]!, argv, env, cwd: "/", rlimits: {}, keepFds: 4, ...change };
}

export function frameOf(value: unknown): Buffer {
  const body = Buffer.from(JSON.stringify(value));
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
}

async function readFrames(fd: number, onFrame: (frame: Record<string, unknown>) => void) {
  const frames: Record<string, unknown>[] = [];
  let rest = Buffer.alloc(0);
  const chunk = Buffer.alloc(65_536);
  for (;;) {
    let size: number;
    try {
      size = readSync(fd, chunk);
    } catch (error) {
      if ((error as { code?: string }).code === "ECONNRESET") return frames;
      if ((error as { code?: string }).code !== "EAGAIN") throw error;
      await Bun.sleep(1);
      continue;
    }
    if (size === 0) return frames;
    rest = Buffer.concat([rest, chunk.subarray(0, size)]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE()) {
      const end = 4 + rest.readUInt32BE();
      const frame = JSON.parse(rest.subarray(4, end).toString()) as Record<string, unknown>;
      rest = rest.subarray(end);
      frames.push(frame);
      onFrame(frame);
    }
  }
}
