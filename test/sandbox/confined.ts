/** Starting a worker of the suite as the agent does: through the product's own launcher, limits and network. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import { silentLogger } from "../../src/core/logger.ts";
import { createLauncher, type Launcher } from "../../src/agent/workers/launch.ts";
import { createCgroup } from "../../src/agent/workers/limits/cgroup.ts";
import { LimitWatcher } from "../../src/agent/workers/limits/limit-watch.ts";
import { scriptPipeMaker } from "../../src/agent/workers/scripts/script-pipes.ts";
import { createBroker } from "../../src/agent/workers/network/broker.ts";
import type { KernelFacts } from "../../src/agent/workers/sandbox/kernel-facts.ts";
import { bareGrant, type Grant } from "../../src/model/grant.ts";
import { DEFAULT_RESOURCES, type Resources } from "../../src/model/permissions.ts";
import type { Self, Starter } from "./starter.ts";

const MB = 1024 ** 2;
/**
 * Smaller than what plugins get by default, so that the attacks on them stay small. The processor time is far more than a worker
 * of the suite needs: should one be left behind, the kernel ends it.
 */
export const SUITE_RESOURCES: Resources = {
  ...DEFAULT_RESOURCES,
  fileSize: 16 * MB,
  disk: 48 * MB,
  cpuTime: 60_000,
};

export interface Confinement {
  start: Starter;
  launcher: Launcher;
  close(): Promise<void>;
}

/** What a normal plugin has: its own folder and its code; a script also the host's programs. */
export function normalGrant(kind: "host" | "script", resources: Resources = SUITE_RESOURCES): Grant {
  const grant = bareGrant(resources);
  return kind === "host" ? grant : { ...grant, read: ["@system"], exec: ["@system"] };
}

export async function confinement(
  self: Self,
  kernel: KernelFacts,
  workdir: string,
  change: (grant: Grant) => Grant = (grant) => grant,
): Promise<Confinement> {
  const [clock, ids, log] = [systemClock(), systemIds(), silentLogger()];
  const folder = join(workdir, "workers");
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const { cgroup } = await createCgroup(kernel.cgroup, { clock, log });
  const watcher = new LimitWatcher(clock);
  const broker = createBroker({ clock, ids, log, ownListeners: () => [] });
  const launcher = createLauncher({
    self,
    kernel,
    cgroup,
    watcher,
    broker,
    openPipes: scriptPipeMaker(),
    workdir: folder,
    env: {},
    clock,
    ids,
    log,
  });
  const start: Starter = async ({ kind, command, code }) => {
    const worker = await launcher.launch({
      kind,
      command,
      grant: change(normalGrant(kind)),
      label: "escape",
      code: [code],
      env: {},
      stdin: "ignore",
    });
    // A script's is a pipe in any case; whoever has it closes it.
    void worker.stdin?.end();
    const adopt = worker.awaitsSockets ? worker.adoptSockets : undefined;
    return {
      pid: worker.pid,
      channelFd: worker.channelFd,
      stdout: worker.stdout,
      stderr: worker.stderr,
      ...(adopt ? { adopt } : {}),
      exited: worker.exited.then(({ code, verdict }) => ({ code, text: verdict.text })),
      kill: () => worker.kill(),
    };
  };
  return { start, launcher, close: async () => watcher.stop() };
}
