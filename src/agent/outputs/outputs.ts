import { backoffDelay } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import type { PartStatus } from "../../model/agent-status.ts";
import type { OutputConfig } from "../../model/config.ts";
import type { CloudEvent } from "../../model/event.ts";
import { celValue, compileExpression } from "../../model/expression.ts";
import type { JsonObject } from "../../model/json.ts";
import type { CatalogPlugin } from "../../model/plugin.ts";

export interface SupervisedOutput {
  write(events: CloudEvent[]): Promise<void>;
  status(): PartStatus;
  stop(): Promise<void>;
}

export interface OutputPorts {
  find(plugin: string): CatalogPlugin | undefined;
  missing(plugin: string): string;
  supervise(options: { name: string; plugin: CatalogPlugin; settings: JsonObject }): SupervisedOutput;
  eventsAfter(n: number, limit: number): Promise<{ n: number; body: string }[]>;
  lastEvent(): Promise<number>;
  cursor(output: string): Promise<number | undefined>;
  setCursor(output: string, n: number): Promise<void>;
  clock: Clock;
  ids: Ids;
  log: Logger;
}

const BATCH = 256;
const RETRY = { kind: "exponential", initialMs: 500, maxMs: 30_000 } as const;

/**
 * Carries committed events to output plugins. Each output has a durable cursor that moves only after the plugin took
 * the batch: nothing is skipped, and after a crash a batch may come once more.
 */
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

function startPump(config: OutputConfig, plugin: CatalogPlugin, ports: OutputPorts) {
  const worker = ports.supervise({ name: config.name, plugin, settings: config.with as JsonObject });
  const match = config.match === undefined ? null : compileExpression(config.match);
  const stopping = new AbortController();
  let wake = () => {};
  let poked = true;

  const pump = async () => {
    // A new output starts with what happens from now on, not with all that is stored.
    const known = await ports.cursor(config.name);
    let cursor = known ?? (await ports.lastEvent());
    if (known === undefined) await ports.setCursor(config.name, cursor);
    for (let failures = 0; !stopping.signal.aborted;) {
      poked = false;
      const rows = await ports.eventsAfter(cursor, BATCH);
      if (rows.length === 0) {
        if (!poked) await new Promise<void>((resolve) => (wake = resolve));
        continue;
      }
      const events = rows
        .map((row) => JSON.parse(row.body) as CloudEvent)
        .filter((event) => accepts(match, event));
      try {
        if (events.length > 0) await worker.write(events);
        cursor = rows.at(-1)!.n;
        await ports.setCursor(config.name, cursor);
        failures = 0;
      } catch (error) {
        if (stopping.signal.aborted) return;
        failures++;
        ports.log.warn("output refused a batch; it will be tried again", {
          output: config.name,
          error: messageOf(error),
          failures,
        });
        await ports.clock
          .sleep(backoffDelay(RETRY, failures, ports.ids.random), stopping.signal)
          .catch(() => {});
      }
    }
  };
  const done = pump().catch((error: unknown) => {
    if (!stopping.signal.aborted)
      ports.log.error("output stopped", { output: config.name, error: messageOf(error) });
  });
  const poke = () => {
    poked = true;
    wake();
  };
  return {
    status: () => worker.status(),
    poke,
    async stop() {
      stopping.abort();
      poke();
      await worker.stop();
      await done;
    },
  };
}

function accepts(match: ReturnType<typeof compileExpression> | null, event: CloudEvent): boolean {
  if (match === null) return true;
  const result = match.evaluate({ event: celValue(event) });
  return result.kind === "value" && result.value === true;
}
