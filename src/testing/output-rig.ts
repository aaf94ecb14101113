import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PumpOptions } from "../agent/outputs/output-pump.ts";
import { OutputPump } from "../agent/outputs/output-pump.ts";
import { systemIds } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import type { CloudEvent, ProposedEvent } from "../model/event.ts";
import type { Fault } from "../storage/faults.ts";
import { type InProcessStore, openInProcessStore } from "./in-process-store.ts";
import { VirtualClock } from "./virtual-clock.ts";

/** Whose events they are. */
export const SOURCE = "urn:holdfast:agent:test/app";
const MAX_TURNS = 100_000;

/** An output over a real store and a clock that moves only when nothing else does. */
export class OutputRig {
  readonly clock = new VirtualClock();
  readonly told: ProposedEvent[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), "holdfast-outputs-"));
  readonly path = join(this.#folder, "agent.db");
  store!: InProcessStore;
  pump!: OutputPump;
  /** Resolves when the store that is open now dies. */
  death: Promise<void> = Promise.resolve();
  #running: Promise<void> = Promise.resolve();

  async open(faults: Fault[] = []): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.death = promise;
    this.store = await openInProcessStore({
      onCrash: resolve,
      path: this.path,
      ids: systemIds(),
      wall: () => this.clock.wall(),
      faults,
    });
  }

  start(write: (events: CloudEvent[]) => Promise<void>, options: Partial<PumpOptions> = {}): void {
    const given: PumpOptions = {
      name: "archive",
      batch: { events: 8, bytes: 1024 * 1024, delayMs: 0 },
      backlog: 900_000,
      retry: { kind: "exponential", initialMs: 500, maxMs: 30_000 },
      breaker: { failures: 5, delayMs: 30_000 },
      accepts: () => true,
      ...options,
    };
    const { store, clock } = this;
    const pump = new OutputPump(given, {
      write,
      eventsAfter: (n, limit) => store.eventsAfter(n, limit),
      lastEvent: () => store.lastEvent(),
      cursor: (output) => store.outputCursor(output),
      setCursor: (output, n) => store.setOutputCursor(output, n),
      tell: async (event) => {
        if (!this.told.some(({ id }) => id === event.id)) this.told.push(event);
      },
      clock,
      ids: systemIds(),
      log: silentLogger(),
    });
    this.pump = pump;
    this.#running = pump.run();
  }

  /** Commits events with these ids; the type is what stands before a dash. */
  async add(ids: string[]): Promise<void> {
    const events = ids.map((id) => {
      const type = id.split("-")[0]!;
      const event = { specversion: "1.0", id, source: SOURCE, type, time: "2026-11-21T04:30:00.000Z" };
      return { source: SOURCE, id, type, timeMs: 1_795_235_400_000, body: JSON.stringify(event) };
    });
    await this.store.commitEvents({
      ...{ trigger: "app", events, runs: [], checkpoint: undefined, recordedMs: 1_795_235_400_001 },
    });
    this.pump?.poke();
  }

  /** Lets time pass, as fast as there is nothing else to do, until the condition holds. */
  async until(what: string, condition: () => boolean): Promise<void> {
    for (let turn = 0; !condition(); turn++) {
      if (turn > MAX_TURNS) throw new Error(`in vain for: ${what}`);
      await turnOver();
      if (!condition()) this.clock.runNext();
    }
  }

  /** What was begun has happened, without time passing. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn++) await turnOver();
  }

  async stop(): Promise<void> {
    this.pump.stop();
    if (!this.store.crashed) await this.#running;
  }

  async end(): Promise<void> {
    await this.stop();
    await this.store.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function turnOver(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
