import { HoldfastError } from "../../core/errors.ts";
import type { CloudEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import type { NewRun } from "../../model/run-build.ts";
import { type DeadLetter, hasEnded, type RunRow } from "../../model/run.ts";
import type { RunBuilder } from "./run-builder.ts";

interface Options {
  store: {
    startRuns(runs: NewRun[]): Promise<void>;
    run(id: string): Promise<{ run: RunRow } | null>;
    event(source: string, id: string): Promise<CloudEvent | null>;
    deadLetter(runId: string): Promise<DeadLetter | null>;
    dropDeadLetter(runId: string, retry?: NewRun): Promise<boolean>;
  };
  builder: RunBuilder;
  admit: (runs: NewRun[]) => void;
  /** Throws when no run may be started now: the agent drains, or has as many as it may. */
  mayStart: () => void;
}

/** Runs that people start: each is durable when its id is given. */
export class ManualRuns {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  async start(asked: { pipeline: string; params: Json; by: string }): Promise<string> {
    const { builder, store, admit, mayStart } = this.#options;
    mayStart();
    const { pipeline, params, by } = asked;
    const made = builder.build({ pipeline, params, event: null, starter: { kind: "manual", by } });
    await store.startRuns([made]);
    admit([made]);
    return made.run.id;
  }

  /** A new run like one that has ended, of the pipeline as it is now. */
  async retry(runId: string, by: string): Promise<string> {
    const { store, admit, mayStart } = this.#options;
    mayStart();
    const { run } = await this.#ended(runId);
    const made = await this.#again(run, run.params, by);
    await store.startRuns([made]);
    admit([made]);
    return made.run.id;
  }

  /** The same for a dead letter, with the parameters it has by now. The letter goes as the run comes. */
  async retryDead(runId: string, by: string): Promise<string> {
    const { store, admit, mayStart } = this.#options;
    mayStart();
    const letter = await store.deadLetter(runId);
    if (!letter) throw noLetter(runId);
    const found = await store.run(letter.runId);
    const made = await this.#again(found?.run ?? null, letter.params, by, letter);
    if (!(await store.dropDeadLetter(letter.runId, made))) throw noLetter(runId);
    admit([made]);
    return made.run.id;
  }

  async #ended(runId: string): Promise<{ run: RunRow }> {
    const found = await this.#options.store.run(runId);
    if (!found) throw new HoldfastError("not_found", `there is no run ${runId}`);
    if (hasEnded(found.run.state)) return found;
    throw new HoldfastError(
      "conflict",
      `run ${runId} is ${found.run.state}: only a run that has ended can run again`,
    );
  }

  /** `run` is null when the store has forgotten it, and only its letter is left. */
  async #again(run: RunRow | null, params: Json, by: string, letter?: DeadLetter): Promise<NewRun> {
    const { builder, store } = this.#options;
    const event =
      run !== null && run.eventSource !== null && run.eventId !== null
        ? await store.event(run.eventSource, run.eventId)
        : null;
    return builder.build({
      pipeline: run?.pipeline ?? letter!.pipeline,
      starter: { kind: "retry", by },
      event,
      params,
      rule: run?.rule ?? letter?.rule ?? null,
      ...(run === null ? {} : { priority: run.priority }),
      retryOf: run?.id ?? letter!.runId,
    });
  }
}

function noLetter(runId: string): HoldfastError {
  return new HoldfastError("not_found", `there is no dead letter of run ${runId}`);
}
