import { FrameChannel } from "../channel.ts";
import { messageOf } from "../../../core/errors.ts";
import type { LaunchPolicy } from "./launch-policy.ts";
import { errnoName, type Kernel } from "./libc.ts";
import type { OpenSockets } from "./net-namespace.ts";

/** For a host that has just booted, or is emulated: what is too slow would count as missing. */
const LIMIT_MS = 60_000;
/** The last thing that stage 1 does: everything before it has worked. */
const DONE = /^sandbox: execute /;

interface StageFrame extends Partial<OpenSockets> {
  kind?: unknown;
  message?: unknown;
}

/** Starts stage 1 with a policy whose program cannot be executed. null: all the rest could be done; else why not. */
export async function tryLaunch(
  kernel: Kernel,
  command: string[],
  policy: LaunchPolicy,
): Promise<string | null> {
  let child: Bun.Subprocess<"ignore", "ignore", "pipe">;
  try {
    child = Bun.spawn([...command, "__launch"], {
      cwd: "/",
      env: { PATH: "/usr/bin:/bin", HOME: policy.cwd, LANG: "C" },
      stdio: ["ignore", "ignore", "pipe", "socket-fd"],
      detached: true,
      timeout: LIMIT_MS,
      killSignal: "SIGKILL",
    });
  } catch (error) {
    return `${command[0]} cannot be started: ${messageOf(error)}`;
  }
  const closed = Promise.withResolvers<void>();
  let verdict: string | undefined;
  const channel = await FrameChannel.open(child.stdio[3]!, {
    frame(frame) {
      const { kind, message, tcp, udp } = (frame ?? {}) as StageFrame;
      if (kind === "failed") verdict ??= String(message);
      if (kind !== "sockets") return;
      const refusal = takeSockets(kernel, child.pid, [...(tcp ?? []), ...(udp ?? [])]);
      verdict ??= refusal;
      channel.send(JSON.stringify({ kind: refusal === undefined ? "go" : "no" }));
    },
    closed: () => closed.resolve(),
  });
  channel.send(JSON.stringify(policy));
  const [said] = await Promise.all([new Response(child.stderr).text(), child.exited, closed.promise]);
  if (verdict !== undefined) return DONE.test(verdict) ? null : verdict.replace(/^sandbox: /, "");
  return said.trim().split("\n").at(-1) || `the launcher ended without a word (${ending(child)})`;
}

const ending = (child: Bun.Subprocess): string =>
  child.signalCode ? `${child.signalCode}` : `exit code ${child.exitCode}`;

/** Whether this process can take over the child's sockets, as the agent will; undefined when it can. */
function takeSockets(kernel: Kernel, pid: number, sockets: { fd: number }[]): string | undefined {
  const process = kernel.call("pidfd_open", pid, 0);
  if (process < 0) return `its sockets cannot be taken over: pidfd_open: ${errnoName(process)}`;
  try {
    for (const { fd } of sockets) {
      const taken = kernel.call("pidfd_getfd", process, fd, 0);
      if (taken < 0) return `its sockets cannot be taken over: pidfd_getfd: ${errnoName(taken)}`;
      kernel.call("close", taken);
    }
    return undefined;
  } finally {
    kernel.call("close", process);
  }
}
