import type { HeldRun } from "./held-run.ts";
import type { BrakePort } from "./ports.ts";

interface Options {
  /** Without it nothing is ever held back. */
  brake: BrakePort | undefined;
  /** Puts what was held back where it would stand otherwise: a step, or with null the run itself. */
  again: (held: HeldRun, stepId: string | null) => void;
}

interface Parked {
  held: HeldRun;
  /** It has not begun: it waits without a place, so that it is in nobody's way. */
  whole: boolean;
  steps: Set<string>;
}

/** What the brake holds back, in the order in which it would have begun. In memory: the rows say `queued`, as they did. */
export class HeldBack {
  readonly #options: Options;
  readonly #parked = new Map<string, Parked>();
  #whole = 0;

  constructor(options: Options) {
    this.#options = options;
  }

  /**
   * May a side effect of this run begin now? Null when it may, else why not. To be asked in the same turn in which its
   * lease goes to the store: the brake is engaged for good behind every lease that was sent before it.
   */
  refusal({ unattended }: Pick<HeldRun, "unattended">): string | null {
    return unattended ? (this.#options.brake?.reason() ?? null) : null;
  }

  /** Runs that have not begun and do not begin. */
  get runs(): number {
    return this.#whole;
  }

  get steps(): number {
    let steps = 0;
    for (const parked of this.#parked.values()) steps += parked.steps.size;
    return steps;
  }

  /** What of this run is held back, and why; null when nothing is. */
  of(runId: string): { reason: string; whole: boolean; steps: string[] } | null {
    const parked = this.#parked.get(runId);
    const reason = parked && this.refusal(parked.held);
    return reason ? { reason, whole: parked.whole, steps: [...parked.steps] } : null;
  }

  /** Keeps a step until the brake is released, or a run that has not begun (null). */
  park(held: HeldRun, stepId: string | null): void {
    // Released since it was asked: nobody would come back for it.
    if (this.refusal(held) === null) return this.#options.again(held, stepId);
    const parked = this.#parkedOf(held);
    if (stepId !== null) parked.steps.add(stepId);
    else if (!parked.whole) {
      parked.whole = true;
      this.#whole++;
    }
  }

  /** The run has ended. */
  forget(runId: string): void {
    if (this.#parked.get(runId)?.whole) this.#whole--;
    this.#parked.delete(runId);
  }

  release(): void {
    const parked = [...this.#parked.values()];
    this.#parked.clear();
    this.#whole = 0;
    for (const { held, whole, steps } of parked) {
      if (whole) this.#options.again(held, null);
      for (const stepId of steps) this.#options.again(held, stepId);
    }
  }

  #parkedOf(held: HeldRun): Parked {
    let parked = this.#parked.get(held.run.id);
    if (!parked) this.#parked.set(held.run.id, (parked = { held, whole: false, steps: new Set() }));
    return parked;
  }
}
