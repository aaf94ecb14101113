export interface RunQueueOptions {
  maxSteps: number;
  /** Runs of a pipeline that may be under way at once. */
  concurrency: (pipeline: string) => number;
  /** A run has got its place. */
  begin: (runId: string) => void;
  execute: (runId: string, stepId: string) => Promise<void>;
}

/** Who may go: runs wait for a place of their pipeline, ready steps for a place on the agent; both first come, first served. */
export class RunQueue {
  readonly #options: RunQueueOptions;
  readonly #waiting = new Map<string, string[]>();
  readonly #begun = new Map<string, Set<string>>();
  readonly #pipelineOf = new Map<string, string>();
  #ready: { runId: string; stepId: string }[] = [];
  #inFlight = 0;
  #stopped = false;

  constructor(options: RunQueueOptions) {
    this.#options = options;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  hasBegun(runId: string): boolean {
    return this.#begun.get(this.#pipelineOf.get(runId) ?? "")?.has(runId) ?? false;
  }

  /** `begun`: the run had its place before a restart and keeps it, whatever the limit says now. */
  add(runId: string, pipeline: string, begun: boolean): void {
    this.#pipelineOf.set(runId, pipeline);
    if (begun) {
      this.#begunOf(pipeline).add(runId);
      this.#options.begin(runId);
      return;
    }
    const waiting = this.#waiting.get(pipeline) ?? [];
    waiting.push(runId);
    this.#waiting.set(pipeline, waiting);
    this.#beginNext(pipeline);
  }

  remove(runId: string, pipeline: string): void {
    this.#begunOf(pipeline).delete(runId);
    this.#pipelineOf.delete(runId);
    this.#beginNext(pipeline);
  }

  ready(runId: string, stepId: string): void {
    this.#ready.push({ runId, stepId });
    this.#pump();
  }

  stop(): void {
    this.#stopped = true;
    this.#ready = [];
  }

  #begunOf(pipeline: string): Set<string> {
    let begun = this.#begun.get(pipeline);
    if (!begun) this.#begun.set(pipeline, (begun = new Set()));
    return begun;
  }

  #beginNext(pipeline: string): void {
    const waiting = this.#waiting.get(pipeline);
    const begun = this.#begunOf(pipeline);
    while (
      !this.#stopped &&
      waiting &&
      waiting.length > 0 &&
      begun.size < this.#options.concurrency(pipeline)
    ) {
      const runId = waiting.shift()!;
      begun.add(runId);
      this.#options.begin(runId);
    }
  }

  #pump(): void {
    while (!this.#stopped && this.#inFlight < this.#options.maxSteps && this.#ready.length > 0) {
      const { runId, stepId } = this.#ready.shift()!;
      this.#inFlight++;
      void this.#options.execute(runId, stepId).finally(() => {
        this.#inFlight--;
        this.#pump();
      });
    }
  }
}
