import type { Emit, ProposedEvent } from "../../src/sdk/holdfast.ts";

interface Letter {
  event: ProposedEvent;
  done: (refused: string | null) => void;
}

/** Between the server and the agent: what has come and is not kept yet, at most so many. */
export class Inbox {
  readonly #max: number;
  #open = 0;
  #letters: Letter[] = [];
  #wake = () => {};

  constructor(max: number) {
    this.#max = max;
  }

  /** Resolves when the event is kept; rejects when it is refused. Null when there is no room. */
  put(event: ProposedEvent): Promise<void> | null {
    if (this.#open >= this.#max) return null;
    this.#open++;
    return new Promise((resolve, reject) => {
      const done = (refused: string | null) => {
        this.#open--;
        if (refused === null) resolve();
        else reject(new Error(refused));
      };
      this.#letters.push({ event, done });
      this.#wake();
    });
  }

  async *emits(signal: AbortSignal): AsyncGenerator<Emit, void, void> {
    const onAbort = () => this.#wake();
    signal.addEventListener("abort", onAbort);
    while (!signal.aborted) {
      const letter = this.#letters.shift();
      if (letter !== undefined) yield { events: [letter.event], done: letter.done };
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    signal.removeEventListener("abort", onAbort);
  }
}
