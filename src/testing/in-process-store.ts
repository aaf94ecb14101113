import { agentProgram } from "../agent/store/agent-program.ts";
import { ThreadedAgentStore } from "../agent/store/agent-store.ts";
import type { OpenCommand } from "../agent/store/commands.ts";
import type { AgentStoreOptions } from "../agent/store/store-connection.ts";
import { type Fault, Faults } from "../storage/faults.ts";
import type { FromThread, ToThread } from "../storage/storage-frames.ts";
import type { StorageLink } from "../storage/storage-link.ts";
import { serveStorage, type StorageProgram, type ThreadPort } from "../storage/storage-thread.ts";

/** Stands for the death of the whole process in the middle of a write. */
export class SimulatedCrash extends Error {
  constructor() {
    super("the simulated process is dead");
  }
}

export interface InProcessStoreOptions extends Omit<AgentStoreOptions, "link"> {
  /** Called at the moment of a crash, before anything else runs. */
  onCrash?: () => void;
  /** Called as a fault strikes. */
  onFault?: (fault: Fault) => void;
  /** Hands a batch or an answer over: a microtask by default, so that the order is the same each time. */
  schedule?: (work: () => void) => void;
}

/**
 * The agent's store without a thread: the same program, served the same way, over a file. When a fault says `crash`, the
 * transaction under way is lost, nothing is answered any more, and the file can be opened anew.
 */
export class InProcessStore extends ThreadedAgentStore {
  readonly #link: InProcessLink;

  constructor(options: InProcessStoreOptions, link: InProcessLink) {
    super({ ...options, link: () => link });
    this.#link = link;
  }

  get crashed(): boolean {
    return this.#link.dead;
  }

  /** Labels of all writes, with `commit` and the operations. */
  labels(): string[] {
    const program = this.#link.program!;
    return [...program.labels(), ...Object.keys(program.writes), "commit"].toSorted();
  }

  /** Adds a fault to those given at the start. */
  order(fault: Fault): void {
    this.#link.faults!.order(fault);
  }

  /** Dies between two writes. */
  crash(): void {
    this.#link.die();
  }

  override async close(): Promise<void> {
    if (!this.#link.dead) await super.close();
  }
}

/** Rejects with SimulatedCrash when a fault strikes while the store is being opened. */
export async function openInProcessStore(options: InProcessStoreOptions): Promise<InProcessStore> {
  const link = new InProcessLink(
    options.schedule ?? queueMicrotask,
    options.onCrash ?? (() => {}),
    options.onFault ?? (() => {}),
  );
  const store = new InProcessStore(options, link);
  await Promise.race([store.open(), link.death]);
  return store;
}

class InProcessLink implements StorageLink {
  onmessage: StorageLink["onmessage"] = null;
  onerror: StorageLink["onerror"] = null;
  program: StorageProgram | undefined;
  faults: Faults | undefined;
  dead = false;
  readonly death: Promise<never>;
  readonly #port: ThreadPort;
  readonly #schedule: (work: () => void) => void;
  readonly #onCrash: () => void;
  #rejectDeath!: (error: Error) => void;

  constructor(schedule: (work: () => void) => void, onCrash: () => void, onFault: (fault: Fault) => void) {
    this.#schedule = schedule;
    this.#onCrash = onCrash;
    this.death = new Promise((_, reject) => (this.#rejectDeath = reject));
    // Nobody need listen.
    this.death.catch(() => {});
    this.#port = {
      onmessage: null,
      postMessage: (message) => this.#later(message, (data) => this.onmessage?.({ data })),
    };
    serveStorage(
      this.#port,
      (options: OpenCommand, faults) => (this.program = agentProgram(options, faults, () => 0)),
      { makeFaults: (plan) => (this.faults = new Faults(plan, () => this.#fail(), onFault)) },
    );
  }

  postMessage(message: ToThread): void {
    this.#later(message, (data) => {
      this.#port.onmessage!({ data });
      if (this.dead) this.#release();
    });
  }

  terminate(): void {}

  die(): void {
    if (this.dead) return;
    this.#end();
    this.#release();
  }

  /** What is between the two sides is copied, as it is between threads. */
  #later<Message extends FromThread | ToThread>(message: Message, work: (data: Message) => void): void {
    const data = structuredClone(message);
    this.#schedule(() => {
      if (!this.dead) work(data);
    });
  }

  #fail(): never {
    const crash = new SimulatedCrash();
    if (!this.dead) this.#end();
    throw crash;
  }

  #end(): void {
    this.dead = true;
    this.#onCrash();
    this.#rejectDeath(new SimulatedCrash());
  }

  /** Gives up the file. The transaction was rolled back when the error of the crash came through, as a new start would. */
  #release(): void {
    this.#port.onmessage!({ data: { kind: "close" } });
  }
}
