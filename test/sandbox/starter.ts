/** Starting one worker of the suite: without any sandbox, or through the product's own launcher. */
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { HandedSockets } from "../../src/agent/workers/network/worker-network.ts";
import { type SelfCommand, selfCommand } from "../../src/agent/workers/self-command.ts";
import { familyOf } from "./family.ts";

export interface Start {
  kind: "host" | "script";
  /** Absolute program and its arguments, for a script. */
  command: string[];
  /** Folder of the worker's code. */
  code: string;
}

export interface Started {
  pid: number;
  channelFd: number;
  stdout: ReadableStream<Uint8Array>;
  stderr: ReadableStream<Uint8Array>;
  exited: Promise<{ code: number | null; text: string }>;
  /** There is a network of its own: takes the sockets that come in the first frame, which is then answered by `go`. */
  adopt?(sockets: HandedSockets): Promise<void>;
  kill(): void;
}

export type Starter = (start: Start) => Promise<Started>;

/** What starts this program: `holdfast`, or Bun with src/main.ts. */
export interface Self extends SelfCommand {
  compiled: boolean;
}

/** The product in this checkout, or its executable. */
export function selfOf(executable: string | undefined): Self {
  if (executable !== undefined) return { command: [executable], code: [], compiled: true };
  return { ...selfCommand(), compiled: false };
}

/** The environment that workers have, and nothing of the harness's. */
export function plainEnvironment(folder: string): Record<string, string> {
  return {
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    HOME: folder,
    TMPDIR: folder,
    LANG: "C.UTF-8",
  };
}

/** Seconds of processor time after which the kernel ends an unconfined worker that was left behind. */
const MOST_SECONDS = 60;

/** A worker that nothing confines. */
export function unconfined(self: Self, workdir: string): Starter {
  return async ({ kind, command }) => {
    const folder = mkdtempSync(join(workdir, "off-"));
    const program = kind === "host" ? [...self.command, "__host"] : command;
    const child = Bun.spawn(["/bin/sh", "-c", `ulimit -t ${MOST_SECONDS}; exec "$@"`, "sh", ...program], {
      cwd: folder,
      env: plainEnvironment(folder),
      stdio: ["ignore", "pipe", "pipe", "socket-fd"],
      detached: true,
    });
    const kill = () => {
      for (const pid of [...familyOf(child.pid), child.pid]) signal(pid);
    };
    return {
      pid: child.pid,
      channelFd: child.stdio[3] as unknown as number,
      stdout: child.stdout as ReadableStream<Uint8Array>,
      stderr: child.stderr as ReadableStream<Uint8Array>,
      exited: child.exited.then(() => {
        signal(-child.pid);
        rmSync(folder, { recursive: true, force: true });
        const text = child.signalCode ? `killed by ${child.signalCode}` : `exit code ${child.exitCode}`;
        return { code: child.exitCode, text };
      }),
      kill,
    };
  };
}

function signal(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // Gone already.
  }
}
