import { chmodSync, chownSync, closeSync, mkdirSync, mkdtempSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ScriptLauncher } from "../agent/workers/scripts/ports.ts";
import { scriptPipeMaker } from "../agent/workers/scripts/script-pipes.ts";
import type { KernelFacts } from "../agent/workers/sandbox/kernel-facts.ts";
import { launchPrefix, planLaunch } from "../agent/workers/sandbox/plan-launch.ts";
import type { Verdict } from "../model/worker-end.ts";
import { frameOf, testCommand } from "./stage-one-rig.ts";

/** A user that nothing else on the host runs as: the kernel counts the processes of a user, not those of a worker. */
const USER = 61_000 + (process.pid % 4_000);
const PEAK = { memoryBytes: 0, cpuMs: 0, processes: 0, diskBytes: 0 };

/** Scripts behind the real stage 1, without what an agent adds to it: no watch of limits, no network. */
export function confinedLauncher(kernel: KernelFacts): { launcher: ScriptLauncher; close(): void } {
  // Where a user of its own can get in.
  const workdir = mkdtempSync(join(tmpdir(), "holdfast-confined-"));
  chmodSync(workdir, 0o755);
  const openPipes = scriptPipeMaker();
  let folders = 0;
  const launcher: ScriptLauncher = {
    async launch({ command, grant, env, code }) {
      const folder = join(workdir, String(++folders));
      mkdirSync(folder, { mode: 0o700 });
      if (kernel.root) chownSync(folder, USER, USER);
      const base = { PATH: "/usr/local/bin:/usr/bin:/bin", HOME: folder, TMPDIR: folder, LANG: "C.UTF-8" };
      const policy = planLaunch({
        grant,
        kernel,
        worker: {
          kind: "script",
          program: command[0]!,
          argv: command,
          env: { ...base, ...env },
          cwd: folder,
          folder,
          code,
          ...(kernel.root ? { uid: USER, gid: USER } : {}),
        },
      });
      const pipes = openPipes();
      const child = Bun.spawn([...launchPrefix(kernel, policy), ...testCommand(), "__launch"], {
        cwd: "/",
        env: { PATH: "/usr/bin:/bin", HOME: "/" },
        stdio: [...pipes.child, "socket-fd"] as [number, number, number, "socket-fd"],
        detached: true,
      });
      pipes.closeChild();
      const channelFd = child.stdio[3] as unknown as number;
      writeSync(channelFd, frameOf(policy));
      const kill = () => {
        try {
          process.kill(-child.pid, "SIGKILL");
        } catch {
          // ESRCH: nobody is left in the group.
        }
      };
      const exited = child.exited.then(() => {
        kill();
        rmSync(folder, { recursive: true, force: true });
        const { exitCode: code } = child;
        const signal = child.signalCode === null ? null : String(child.signalCode);
        const verdict: Verdict =
          signal === null
            ? { cause: "exited", text: `exited(${code})`, peak: PEAK }
            : { cause: "crashed", text: `crashed(${signal})`, peak: PEAK };
        return { code, signal, verdict };
      });
      const { stdin, stdout, stderr } = pipes;
      // The channel goes with the launcher's frames; a closed one would end stage 1 before it has read them.
      return {
        pid: child.pid,
        callFd: null,
        stdin,
        stdout,
        stderr,
        exited: exited.finally(() => closeSync(channelFd)),
        kill,
      };
    },
  };
  return { launcher, close: () => rmSync(workdir, { recursive: true, force: true }) };
}
