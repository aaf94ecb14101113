/**
 * Structured concurrency: tasks share a signal, the first failure aborts the siblings, and `join` settles only when
 * every task has settled.
 */
export class TaskGroup {
  readonly #controller = new AbortController();
  readonly #tasks = new Set<Promise<void>>();
  #failure: { error: unknown } | undefined;

  constructor(parent?: AbortSignal) {
    if (parent?.aborted) this.#controller.abort(parent.reason);
    parent?.addEventListener("abort", () => this.#controller.abort(parent.reason), { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  start(task: (signal: AbortSignal) => Promise<void>): void {
    const running = task(this.signal)
      .catch((error: unknown) => {
        if (this.signal.aborted) return;
        this.#failure ??= { error };
        this.#controller.abort(error);
      })
      .finally(() => this.#tasks.delete(running));
    this.#tasks.add(running);
  }

  abort(reason?: unknown): void {
    this.#controller.abort(reason);
  }

  /** Waits for all tasks, also those started meanwhile; throws the first failure. */
  async join(): Promise<void> {
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
    if (this.#failure) throw this.#failure.error;
  }
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
