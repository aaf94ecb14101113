import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger, LogSink } from "../../core/logger.ts";
import type { PartStatus } from "../../model/agent-status.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { JsonObject } from "../../model/json.ts";
import type { AgentFacts, CatalogPlugin, Manifest, PluginEntry } from "../../model/plugin.ts";
import type { EndCause, Verdict, WorkerUse } from "../../model/worker-end.ts";
import { type ActionPool, ActionPoolOf, type WorkerOf } from "./action-pool.ts";
import type { Launcher } from "./launch.ts";
import { LiveWorkers } from "./live-workers.ts";
import { type OutputOptions, startOutput } from "./output-part.ts";
import { killLeftBehind } from "./limits/left-behind.ts";
import type { MemoryPort } from "./memory-port.ts";
import { leftFolders, removeLeftovers } from "./own-folder.ts";
import { type Masking, NO_MASKING, type SecretPort } from "./secret-port.ts";
import { prepareSecretFiles, removeSecretFiles } from "./secret-files.ts";
import { withSecrets } from "./secret-settings.ts";
import { Supervisor } from "./supervisor.ts";
import { DEFAULT_TIMING, type WorkerTiming } from "./timing.ts";
import { startTrigger, type TriggerOptions } from "./trigger-part.ts";
import type { ScriptCalls, ScriptPorts } from "./scripts/ports.ts";
import { scriptLauncher } from "./scripts/script-launcher.ts";
import { startScriptOutput } from "./scripts/script-output.ts";
import { startScriptTrigger } from "./scripts/script-trigger.ts";
import { type GrantFor, type HostOperation, WorkerMaker } from "./worker-maker.ts";

export interface WorkersOptions {
  clock: Clock;
  ids: Ids;
  log: Logger;
  /** Folder (tmp/workdir) in which each worker gets one of its own. */
  workdir: string;
  /** Where the lines of a plugin go: `logs/plugins/<name>.log`. */
  pluginLog: (name: string) => LogSink;
  agent: AgentFacts;
  launcher: Launcher;
  grantFor: GrantFor;
  hostOperation?: HostOperation;
  /** What plugins share. */
  memory?: MemoryPort;
  secrets?: SecretPort;
  /** Takes what was handed out out of all that comes from a worker. */
  masking?: Masking;
  /** A script's way to talk back. */
  calls?: ScriptCalls;
  timing?: Partial<WorkerTiming>;
}

export interface SupervisedPart {
  status(): PartStatus;
  /** Takes it out of quarantine, or starts it again after it had ended. */
  reset(): void;
  stop(): Promise<void>;
}

export interface SupervisedTrigger extends SupervisedPart {
  /** What its worker uses now. */
  memoryBytes(): number;
  /** Starts its worker again, with what is under way finished; false when it does not run. */
  restart(reason: string): boolean;
}

export interface SupervisedOutput extends SupervisedPart {
  /** Resolves when the plugin has taken all events. Rejects at once while the output does not run. */
  write(events: CloudEvent[]): Promise<void>;
}

export interface WorkerEnds {
  plugin: string;
  cause: EndCause;
  count: number;
}

type OnChange = { onChange?: (status: PartStatus) => void };

export type Workers = ReturnType<typeof createWorkers>;

/** All that runs plugins: each trigger and output in a worker of its own, one worker for each action plugin in use. */
export function createWorkers(options: WorkersOptions) {
  const { clock, ids, log, agent } = options;
  const timing = { ...DEFAULT_TIMING, ...options.timing };
  const { workdir, pluginLog, grantFor } = options;
  const live = new LiveWorkers();
  const launcher = live.follow(options.launcher);
  const ends = new Map<string, WorkerEnds>();
  const onEnd = (plugin: string, { verdict: { cause } }: { verdict: Verdict }) => {
    const key = `${plugin} ${cause}`;
    ends.set(key, { plugin, cause, count: (ends.get(key)?.count ?? 0) + 1 });
  };
  const hostOperation = options.hostOperation ?? refuseHostOperations;
  const { memory, secrets, masking = NO_MASKING } = options;
  const maker = new WorkerMaker({
    ...{ clock, launcher, grantFor, pluginLog, timing, hostOperation, memory, masking, onEnd },
  });
  const scripts: ScriptPorts = {
    launcher: scriptLauncher(launcher, onEnd),
    agent,
    clock,
    timing,
    pluginLog,
    hostEnv: process.env,
    calls: options.calls,
    masking,
  };
  const common = { clock, random: () => ids.random(), log, backoff: timing.backoff };

  /** What a trigger or an output gets, and its settings as its worker is told them: each life anew. */
  const granted = <Part extends { plugin: CatalogPlugin; settings: JsonObject }>(part: Part) => {
    const grant = maker.grant(part.plugin, part.settings);
    const plugin = part.plugin.manifest.name;
    const filled = withSecrets(part.settings, { plugin, grant, secrets });
    if (filled === null) return { ...part, held: {}, grant };
    const { settings, held, forGrant } = filled;
    return { ...part, settings, held, grant: maker.grant(part.plugin, forGrant) };
  };

  return {
    /** What the plugin at this entry declares. Rejects with why it cannot be loaded. */
    describe: (entry: PluginEntry): Promise<Manifest> => maker.describe(entry),

    /** Ends and removes what workers of a killed agent left. Only for who holds the agent's lock. */
    async sweep() {
      const processes = killLeftBehind(await leftFolders(workdir));
      if (processes > 0) log.warn("ended what workers of an agent that was killed had left", { processes });
      await removeLeftovers(workdir);
      await prepareSecretFiles(workdir);
    },

    /** At the agent's end, when no worker runs any more. */
    close: () => removeSecretFiles(workdir),

    superviseTrigger(trigger: TriggerOptions & OnChange): SupervisedTrigger {
      const supervisor = new Supervisor({
        ...common,
        name: trigger.name,
        plugin: trigger.plugin.manifest.name,
        kind: "trigger",
        start: async (stopping) => {
          const part = granted(trigger);
          return "script" in part.plugin.entry
            ? await startScriptTrigger({ ...part, script: part.plugin.entry.script }, scripts, stopping)
            : await startTrigger(part, maker, agent, stopping);
        },
        onChange: trigger.onChange,
      });
      return {
        status: () => supervisor.status(),
        reset: () => supervisor.reset(),
        stop: () => supervisor.stop(),
        restart: (reason) => supervisor.restart(reason),
        memoryBytes: () => live.memoryOf(supervisor.pid),
      };
    },

    superviseOutput(output: OutputOptions & OnChange): SupervisedOutput {
      const supervisor = new Supervisor({
        ...common,
        name: output.name,
        plugin: output.plugin.manifest.name,
        kind: "output",
        start: async (stopping) => {
          const part = granted(output);
          return "script" in part.plugin.entry
            ? await startScriptOutput({ ...part, script: part.plugin.entry.script }, scripts, stopping)
            : await startOutput(part, { maker, agent, clock, timing }, stopping);
        },
        onChange: output.onChange,
      });
      return {
        status: () => supervisor.status(),
        reset: () => supervisor.reset(),
        stop: () => supervisor.stop(),
        write: async (events) => await (await supervisor.running()).write(events),
      };
    },

    actionPool({ idleMs, workerOf }: { idleMs: number; workerOf?: WorkerOf }): ActionPool {
      return new ActionPoolOf({ ...common, maker, agent, timing, scripts, secrets, idleMs, workerOf });
    },

    /** What all workers that run now use together. */
    use: (): WorkerUse => live.use(),

    /** Ends of workers so far, by plugin and cause. */
    ends: (): WorkerEnds[] => [...ends.values()],
  };
}

async function refuseHostOperations(): Promise<never> {
  throw new HoldfastError("denied", "denied: this program does no host operations");
}
