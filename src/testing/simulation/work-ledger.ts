import type { ActionCall } from "../../agent/runs/ports.ts";

/** How one execution of an action ended, as far as its agent was told. */
export type Told = "ok" | "refused" | "error" | "unknown";

export interface Execution {
  key: string;
  run: string;
  step: string;
  attempt: number;
  /** It did something to the host. */
  performed: boolean;
  /** Null while it runs, and for ever when the agent died meanwhile. */
  told: Told | null;
  running: boolean;
}

/**
 * What the workers really did, kept outside of what crashes take away: every execution of every step, in order, and which
 * run was inside which lock last.
 */
export class WorkLedger {
  readonly byKey = new Map<string, Execution[]>();
  readonly inside = new Map<string, string>();
  /** Keys of steps whose outcome a person has allowed to be tried again, how often. */
  readonly allowed = new Map<string, number>();
  /** Keys of steps that have asked for more steps. */
  readonly adders = new Set<string>();
  /** Attempts by runs that rules started. */
  readonly sideEffects: { atMs: number; pipeline: string; exempt: boolean }[] = [];
  readonly #running = new Set<Execution>();

  begin(call: ActionCall, performed: boolean): Execution {
    const { key, run, step, attempt } = call;
    const execution = { key, run, step, attempt, performed, told: null, running: true };
    const earlier = this.byKey.get(key);
    if (earlier) earlier.push(execution);
    else this.byKey.set(key, [execution]);
    this.#running.add(execution);
    return execution;
  }

  end(execution: Execution, told: Told): void {
    execution.told = told;
    if (told === "ok") execution.performed = true;
    execution.running = false;
    this.#running.delete(execution);
  }

  /** The agent died, and its workers with it. */
  lost(): void {
    for (const execution of this.#running) execution.running = false;
    this.#running.clear();
  }

  allow(key: string): void {
    this.allowed.set(key, (this.allowed.get(key) ?? 0) + 1);
  }

  of(key: string): Execution[] {
    return this.byKey.get(key) ?? [];
  }

  performed(key: string): number {
    return this.of(key).filter((execution) => execution.performed).length;
  }

  running(): readonly Execution[] {
    return [...this.#running];
  }
}
