import type { Launched, Launcher, LaunchSpec, WorkerExit } from "../agent/workers/launch.ts";
import { makeOwnFolder } from "../agent/workers/own-folder.ts";
import type { SelfCommand } from "../agent/workers/self-command.ts";
import type { Ids } from "../core/ids.ts";
import type { Peak } from "../model/worker-end.ts";

const NOTHING: Peak = { memoryBytes: 0, cpuMs: 0, processes: 0, diskBytes: 0 };

/** Starts workers without any stage before them: what confinement is measured against. */
export function plainLauncher(options: { self: SelfCommand; workdir: string; ids: Ids }): Launcher {
  const { self, workdir, ids } = options;
  return {
    async launch(spec: LaunchSpec): Promise<Launched> {
      const folder = makeOwnFolder(workdir, spec.label, ids);
      const command = spec.kind === "host" ? [...self.command, "__host"] : spec.command;
      const child = Bun.spawn(command, {
        cwd: spec.cwd ?? folder.path,
        env: { PATH: "/usr/bin:/bin", HOME: folder.path, ...spec.env },
        stdio: [spec.stdin, "pipe", "pipe", "socket-fd"],
        detached: true,
      });
      const kill = () => void child.kill("SIGKILL");
      const exited = child.exited.then(async (code): Promise<WorkerExit> => {
        await folder.remove();
        const signal = child.signalCode === null ? null : String(child.signalCode);
        const text = signal ? `crashed(${signal})` : `exited(${code})`;
        const cause = signal ? ("crashed" as const) : ("exited" as const);
        return { code: child.exitCode, signal, verdict: { cause, text, peak: NOTHING } };
      });
      return {
        pid: child.pid,
        folder: folder.path,
        channelFd: child.stdio[3] as unknown as number,
        callFd: null,
        stdin: null,
        stdout: child.stdout,
        stderr: child.stderr,
        awaitsSockets: false,
        adoptSockets: async () => {},
        channelNetwork: null,
        throttledMs: () => 0,
        peak: () => NOTHING,
        use: () => NOTHING,
        denials: () => [],
        noteDenial() {},
        noteTooManyFiles() {},
        exited,
        kill,
      };
    },
  };
}
