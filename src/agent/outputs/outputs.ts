import { parseDuration } from "../../core/duration.ts";
import { parseSize } from "../../core/size.ts";
import type { PartStatus } from "../../model/agent-status.ts";
import type { OutputConfig } from "../../model/output-config.ts";
import type { CloudEvent } from "../../model/event.ts";
import { celValue, compileExpression } from "../../model/expression.ts";
import type { JsonObject } from "../../model/json.ts";
import type { CatalogPlugin } from "../../model/plugin.ts";
import { OutputPump, type PumpOptions, type PumpPorts } from "./output-pump.ts";

export interface SupervisedOutput {
  write(events: CloudEvent[]): Promise<void>;
  status(): PartStatus;
  stop(): Promise<void>;
}

export interface OutputPorts extends Omit<PumpPorts, "write"> {
  find(plugin: string): CatalogPlugin | undefined;
  missing(plugin: string): string;
  supervise(options: { name: string; plugin: CatalogPlugin; settings: JsonObject }): SupervisedOutput;
}

/** The outputs of the configuration, each for itself: one that stands still holds up no other. */
export class Outputs {
  readonly #ports: OutputPorts;
  readonly #parts: { status(): PartStatus; poke(): void; stop(): Promise<void> }[] = [];

  constructor(ports: OutputPorts) {
    this.#ports = ports;
  }

  start(configs: OutputConfig[]): void {
    for (const config of configs) {
      const plugin = this.#ports.find(config.plugin);
      if (!config.enabled || !plugin) {
        const reason = plugin ? "disabled in the configuration" : this.#ports.missing(config.plugin);
        const state = plugin ? "stopped" : "failed";
        if (!plugin) this.#ports.log.error("output cannot start", { output: config.name, reason });
        const status: PartStatus = {
          name: config.name,
          plugin: config.plugin,
          kind: "output",
          state,
          restarts: 0,
          reason,
        };
        this.#parts.push({ status: () => status, poke() {}, stop: async () => {} });
        continue;
      }
      this.#parts.push(startPump(config, plugin, this.#ports));
    }
  }

  /** Called after each commit that added events. */
  poke(): void {
    for (const part of this.#parts) part.poke();
  }

  statuses(): PartStatus[] {
    return this.#parts.map((part) => part.status());
  }

  async stop(): Promise<void> {
    await Promise.all(this.#parts.map((part) => part.stop()));
  }
}

/** One output: a worker of its own, also where others have the same plugin, and what carries events to it. */
function startPump(config: OutputConfig, plugin: CatalogPlugin, ports: OutputPorts) {
  const worker = ports.supervise({ name: config.name, plugin, settings: config.with as JsonObject });
  const pump = new OutputPump(pumpOptions(config), { ...ports, write: (events) => worker.write(events) });
  const done = pump.run();
  return {
    status: () => ({ ...worker.status(), delivery: pump.delivery() }),
    poke: () => pump.poke(),
    async stop() {
      pump.stop();
      await worker.stop();
      await done;
    },
  };
}

function pumpOptions({ name, match, silenced, batch, retry, breaker, backlog }: OutputConfig): PumpOptions {
  const condition = match === undefined ? null : compileExpression(match);
  return {
    name,
    backlog,
    accepts: (event) => (silenced || event.silenced === undefined) && accepts(condition, event),
    batch: { events: batch.events, bytes: parseSize(batch.size), delayMs: parseDuration(batch.delay) },
    retry: {
      kind: retry.backoff,
      initialMs: parseDuration(retry.initial),
      maxMs: parseDuration(retry.max),
    },
    breaker: { failures: breaker.failures, delayMs: parseDuration(breaker.delay) },
  };
}

function accepts(match: ReturnType<typeof compileExpression> | null, event: CloudEvent): boolean {
  if (match === null) return true;
  const result = match.evaluate({ event: celValue(event) });
  return result.kind === "value" && result.value === true;
}
