import type { EventRecorder } from "../../agent/events/recorder.ts";
import { OutputPump } from "../../agent/outputs/output-pump.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import type { CloudEvent } from "../../model/event.ts";
import { OUTPUTS_TRIGGER } from "../../model/output-batch.ts";
import type { InProcessStore } from "../in-process-store.ts";
import type { Seeded } from "../seeded.ts";
import type { Incarnation } from "./incarnation.ts";
import type { SimulatedOutput } from "./output-grammar.ts";
import type { OutputLedger } from "./output-ledger.ts";

export interface Destinations {
  outputs: { output: SimulatedOutput; ledger: OutputLedger }[];
  random: Seeded;
  /** They take whatever they may. */
  calm: () => boolean;
  /** Sees what is durable by now. */
  look: () => void;
  say: (line: string) => void;
}

interface Options extends Destinations {
  life: Incarnation;
  store: InProcessStore;
  recorder: EventRecorder;
  ids: Ids;
  log: Logger;
}

const DELAYS = [0, 0, 20, 3_000];
const HANGS_MS = 120_000;

/** The real pumps of one life of the agent, and destinations that fail, hang, take a part, or answer in vain. */
export class SimulatedOutputs {
  readonly #options: Options;
  readonly #stopped = new AbortController();
  readonly #pumps: OutputPump[];
  #running: Promise<unknown> = Promise.resolve();

  constructor(options: Options) {
    this.#options = options;
    this.#pumps = options.outputs.map(({ output, ledger }) => this.#pump(output, ledger));
  }

  start(): void {
    this.#options.store.onOutbox(() => this.#pumps.forEach((pump) => pump.poke()));
    this.#running = Promise.all(this.#pumps.map((pump) => pump.run()));
  }

  async stop(): Promise<void> {
    for (const pump of this.#pumps) pump.stop();
    this.#stopped.abort(new Error("the worker was stopped"));
    await this.#running;
  }

  /** Everything that there is has been dealt with. */
  async isQuiet(): Promise<boolean> {
    const { store, outputs } = this.#options;
    const last = await store.lastEvent();
    const cursors = await Promise.all(outputs.map(({ output: { name } }) => store.outputCursor(name)));
    return cursors.every((cursor) => cursor !== undefined && cursor >= last);
  }

  #pump(output: SimulatedOutput, ledger: OutputLedger): OutputPump {
    const { store, recorder, life: clock, ids, log } = this.#options;
    return new OutputPump(output, {
      write: (events) => this.#write(ledger, events),
      eventsAfter: (n, limit) => store.eventsAfter(n, limit),
      lastEvent: () => store.lastEvent(),
      cursor: async (name) => {
        const cursor = await store.outputCursor(name);
        ledger.found(cursor);
        return cursor;
      },
      setCursor: (name, n) => {
        ledger.moves(n);
        return store.setOutputCursor(name, n);
      },
      tell: (event) => recorder.record(OUTPUTS_TRIGGER, [event], undefined),
      ...{ clock, ids, log },
    });
  }

  async #write(ledger: OutputLedger, events: CloudEvent[]): Promise<void> {
    const { random, calm, look, say, life } = this.#options;
    // What a dead process does is not seen by anybody.
    if (life.dead) return await new Promise<never>(() => {});
    look();
    if (calm()) return take(ledger, events);
    const what = random.next();
    await life.sleep(random.pick(DELAYS), this.#stopped.signal);
    if (what < 0.15) throw new Error("the destination is down");
    if (what < 0.2) {
      say("a destination hangs");
      await life.sleep(HANGS_MS, this.#stopped.signal);
      throw new Error("no answer");
    }
    if (what < 0.35) return takePart(ledger, events, random);
    take(ledger, events);
    if (what < 0.45) throw new Error("the answer was lost");
  }
}

/** All of it, unless there is one that it never takes: then nothing, and it does not say which. */
function take(ledger: OutputLedger, events: CloudEvent[]): void {
  if (!events.some(isHated)) return ledger.took(events);
  if (events.length === 1) ledger.refused(events[0]!);
  throw problem("invalid", false, 0, []);
}

function takePart(ledger: OutputLedger, events: CloudEvent[], random: Seeded): void {
  const hated = events.findIndex(isHated);
  const taken = hated < 0 ? random.int(0, events.length - 1) : random.int(0, hated);
  const rejected = hated < 0 ? [] : [hated];
  ledger.took(events.slice(0, taken));
  if (hated >= 0) ledger.refused(events[hated]!);
  throw problem("failed", true, taken, rejected);
}

function problem(code: string, retryable: boolean, taken: number, rejected: number[]): HoldfastError {
  const partial = { taken, rejected: rejected.map((index) => ({ index, reason: "odd" })) };
  return new HoldfastError("failed", "not all of it", { details: { code, partial }, retryable });
}

/** Some events are never taken. */
function isHated({ id }: CloudEvent): boolean {
  return id.endsWith("13");
}
