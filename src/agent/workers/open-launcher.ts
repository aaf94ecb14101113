import type { Clock } from "../../core/clock.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import { createLauncher, type Launcher } from "./launch.ts";
import { LaunchAhead } from "./launch-ahead.ts";
import { startStage } from "./launch-stage.ts";
import { createCgroup } from "./limits/cgroup.ts";
import { LimitWatcher } from "./limits/limit-watch.ts";
import { createBroker } from "./network/broker.ts";
import type { KernelFacts } from "./sandbox/kernel-facts.ts";
import { type ScriptPipes, scriptPipeMaker } from "./scripts/script-pipes.ts";
import { type SelfCommand, selfCommand } from "./self-command.ts";

export interface OpenLauncherOptions {
  /** What this host's kernel offers; see `probeKernel`. */
  kernel: KernelFacts;
  /** Folder (tmp/workdir) in which each worker gets a fresh one of its own. */
  workdir: string;
  clock: Clock;
  ids: Ids;
  log: Logger;
  /** Ports of this agent that no worker may reach. */
  ownListeners?: () => { host: string; port: number }[];
  /** This program itself when absent. */
  self?: SelfCommand;
}

/** All that starting workers needs, over this host's kernel. */
export async function openLauncher(
  options: OpenLauncherOptions,
): Promise<{ launcher: Launcher; ahead: LaunchAhead; close(): Promise<void> }> {
  const { kernel, workdir, clock, ids, log, ownListeners = () => [], self = selfCommand() } = options;
  const { cgroup } = await createCgroup(kernel.cgroup, { clock, log });
  const watcher = new LimitWatcher(clock);
  const broker = createBroker({ clock, ids, ownListeners, log });
  const openPipes = scriptPipes();
  const ahead = new LaunchAhead({
    clock,
    start: (prefix) =>
      startStage({ self, prefix, workdir, stdin: "ignore", pipes: openPipes(), calls: true }),
  });
  const launcher = createLauncher({
    self,
    kernel,
    cgroup,
    watcher,
    broker,
    openPipes,
    ahead,
    workdir,
    env: process.env,
    clock,
    ids,
    log,
  });
  return {
    launcher,
    ahead,
    async close() {
      ahead.close();
      watcher.stop();
    },
  };
}

/** Only an agent with scripts needs the C library for their pipes. */
function scriptPipes(): () => ScriptPipes {
  let open: (() => ScriptPipes) | undefined;
  return () => (open ??= scriptPipeMaker())();
}
