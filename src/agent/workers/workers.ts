import type { Clock } from "../../core/clock.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger, LogSink } from "../../core/logger.ts";
import type { PartStatus } from "../../model/agent-status.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { AgentFacts, CatalogPlugin, Manifest, PluginEntry } from "../../model/plugin.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import { type ActionPorts, ActionWorker, type WorkerCall } from "./action-worker.ts";
import { hostCommand, removeLeftovers } from "./launch.ts";
import { type OutputOptions, startOutput } from "./output-part.ts";
import { Supervisor } from "./supervisor.ts";
import { DEFAULT_TIMING, type WorkerTiming } from "./timing.ts";
import { startTrigger, type TriggerOptions } from "./trigger-part.ts";
import { WorkerMaker } from "./worker-maker.ts";

export interface WorkersOptions {
  clock: Clock;
  ids: Ids;
  log: Logger;
  /** Folder (tmp/workdir) in which each worker gets one of its own. */
  workdir: string;
  /** Where the lines of a plugin go: `logs/plugins/<name>.log`. */
  pluginLog: (name: string) => LogSink;
  agent: AgentFacts;
  /** Command line of the plugin host; this program itself when absent. */
  command?: string[];
  timing?: Partial<WorkerTiming>;
}

export interface SupervisedPart {
  status(): PartStatus;
  /** Takes it out of quarantine, or starts it again after it had ended. */
  reset(): void;
  stop(): Promise<void>;
}

export interface SupervisedOutput extends SupervisedPart {
  /** Resolves when the plugin has taken all events. Rejects at once while the output does not run. */
  write(events: CloudEvent[]): Promise<void>;
}

export interface ActionPool {
  /** `unknown` when the call was sent and no result came back; an error with `started: false` when it was not sent. */
  call(plugin: CatalogPlugin, call: WorkerCall, signal: AbortSignal): Promise<AttemptOutcome>;
  statuses(): PartStatus[];
  /** Takes an action out of quarantine; false when it has none. */
  reset(name: string): boolean;
  stop(): Promise<void>;
}

type OnChange = { onChange?: (status: PartStatus) => void };

export type Workers = ReturnType<typeof createWorkers>;

/** All that runs plugins: each trigger and output in a worker of its own, one worker for each action plugin in use. */
export function createWorkers(options: WorkersOptions) {
  const { clock, ids, log, agent } = options;
  const timing = { ...DEFAULT_TIMING, ...options.timing };
  const { workdir, pluginLog, command = hostCommand() } = options;
  const maker = new WorkerMaker({ clock, ids, command, workdir, pluginLog, timing });
  const common = { clock, random: () => ids.random(), log, backoff: timing.backoff };

  return {
    /** What the plugin at this entry declares. Rejects with why it cannot be loaded. */
    describe: (entry: PluginEntry): Promise<Manifest> => maker.describe(entry),

    /** Removes the folders that workers of a killed agent left. Only for who holds the agent's lock. */
    sweep: () => removeLeftovers(workdir),

    superviseTrigger(trigger: TriggerOptions & OnChange): SupervisedPart {
      return new Supervisor({
        ...common,
        name: trigger.name,
        plugin: trigger.plugin.manifest.name,
        kind: "trigger",
        start: (stopping) => startTrigger(trigger, maker, agent, stopping),
        onChange: trigger.onChange,
      });
    },

    superviseOutput(output: OutputOptions & OnChange): SupervisedOutput {
      const supervisor = new Supervisor({
        ...common,
        name: output.name,
        plugin: output.plugin.manifest.name,
        kind: "output",
        start: (stopping) => startOutput(output, { maker, agent, clock, timing }, stopping),
        onChange: output.onChange,
      });
      return {
        status: () => supervisor.status(),
        reset: () => supervisor.reset(),
        stop: () => supervisor.stop(),
        write: async (events) => await (await supervisor.running()).write(events),
      };
    },

    actionPool(pool: { idleMs: number }): ActionPool {
      return createPool({ ...common, maker, agent, timing, idleMs: pool.idleMs });
    },
  };
}

function createPool(ports: ActionPorts): ActionPool {
  const members = new Map<string, ActionWorker>();
  return {
    async call(plugin, call, signal) {
      const { name } = plugin.manifest;
      const member = members.get(name) ?? new ActionWorker(plugin, ports);
      members.set(name, member);
      return await member.call(call, signal);
    },
    statuses: () => [...members.values()].map((member) => member.status()),
    reset(name) {
      members.get(name)?.reset();
      return members.has(name);
    },
    async stop() {
      await Promise.all([...members.values()].map((member) => member.stop()));
    },
  };
}
