import type { Logger } from "../../core/logger.ts";
import type { PartStatus } from "../../model/agent-status.ts";
import type { TriggerConfig } from "../../model/config-trigger.ts";
import type { ProposedEvent } from "../../model/event.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type { CatalogPlugin } from "../../model/plugin.ts";

export interface SupervisedTrigger {
  status(): PartStatus;
  reset(): void;
  stop(): Promise<void>;
  /** What its worker uses now. */
  memoryBytes(): number;
  /** Starts its worker again; false when it does not run. */
  restart(reason: string): boolean;
}

export interface TriggerPorts {
  find(plugin: string): CatalogPlugin | undefined;
  /** Why a plugin of this name is not there. */
  missing(plugin: string): string;
  supervise(options: {
    name: string;
    plugin: CatalogPlugin;
    settings: JsonObject;
    checkpoint: () => Promise<Json | undefined>;
    lost: boolean;
    onEvents: (events: ProposedEvent[], checkpoint: Json | undefined, turn: Promise<void>) => Promise<void>;
  }): SupervisedTrigger;
  checkpoint(trigger: string): Promise<Json | undefined>;
  /** Its checkpoint went with a damaged store. */
  lost(trigger: string): boolean;
  record(
    trigger: string,
    events: ProposedEvent[],
    checkpoint: Json | undefined,
    turn: Promise<void>,
  ): Promise<void>;
  log: Logger;
}

/** The configured triggers, each in its worker. One that cannot start is shown as failed; the others run. */
export class Triggers {
  readonly #running: SupervisedTrigger[] = [];
  readonly #failed: PartStatus[] = [];

  start(configs: TriggerConfig[], ports: TriggerPorts): void {
    for (const config of configs) {
      if (!config.enabled) {
        this.#failed.push({
          name: config.name,
          plugin: config.plugin,
          kind: "trigger",
          state: "stopped",
          restarts: 0,
          reason: "disabled in the configuration",
        });
        continue;
      }
      const plugin = ports.find(config.plugin);
      if (!plugin) {
        const reason = ports.missing(config.plugin);
        ports.log.error("trigger cannot start", { trigger: config.name, reason });
        this.#failed.push({
          name: config.name,
          plugin: config.plugin,
          kind: "trigger",
          state: "failed",
          restarts: 0,
          reason,
        });
        continue;
      }
      this.#running.push(
        ports.supervise({
          name: config.name,
          plugin,
          settings: config.with as JsonObject,
          checkpoint: () => ports.checkpoint(config.name),
          lost: ports.lost(config.name),
          onEvents: (events, checkpoint, turn) => ports.record(config.name, events, checkpoint, turn),
        }),
      );
    }
  }

  statuses(): PartStatus[] {
    return [...this.#failed, ...this.#running.map((trigger) => trigger.status())];
  }

  reset(name: string): boolean {
    const trigger = this.#running.find((candidate) => candidate.status().name === name);
    trigger?.reset();
    return trigger !== undefined;
  }

  /** Starts the trigger again whose worker uses most memory; its name, null when none runs. */
  restartLargest(reason: string): string | null {
    const bySize = this.#running
      .map((trigger) => ({ trigger, bytes: trigger.memoryBytes() }))
      .sort((a, b) => b.bytes - a.bytes);
    const restarted = bySize.find(({ trigger }) => trigger.restart(reason));
    return restarted?.trigger.status().name ?? null;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#running.map((trigger) => trigger.stop()));
  }
}
