import type { NewRecord } from "../../model/record.ts";
import type { NewRun } from "../../model/run-build.ts";
import { hasEnded } from "../../model/run.ts";
import { packUpdate } from "../../storage/column-updates.ts";
import type { TextReader, TextWriter } from "../../storage/text-parts.ts";
import type { ChangeRunCommand, PackedRecords, PackedRun } from "./commands.ts";
import type { RunChange } from "./port.ts";
import {
  attemptCells,
  deadLetterCells,
  RUN_UPDATES,
  runCells,
  STEP_UPDATES,
  stepCells,
} from "./run-columns.ts";

/** Versions of pipelines whose hashes are kept in mind; one that was forgotten is sent once more. */
const MAX_KNOWN = 10_000;

/**
 * Turns runs and their changes into what crosses to the storage thread: cells that are bound as they are, and the bodies of
 * records as text that is not parsed. A pipeline version crosses until a commit with it was acknowledged, and not again.
 */
export class RunPacker {
  readonly #known = new Set<string>();

  run({ run, steps, definition, records, lease }: NewRun, text: TextWriter): PackedRun {
    const packed: PackedRun = {
      run: runCells(run),
      steps: steps.map(stepCells),
      records: packRecords(records, text),
    };
    if (!this.#known.has(run.definition)) packed.definition = JSON.stringify(definition);
    if (lease) packed.lease = { ...lease, attempt: attemptCells(lease.attempt) };
    return packed;
  }

  /** The store has acknowledged an operation with this run, and with it the pipeline version. */
  acknowledged({ run }: NewRun): void {
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.add(run.definition);
  }

  change(change: RunChange, text: TextWriter): ChangeRunCommand {
    const { runId, guards, newSteps, removedSteps, newRuns, lock, unlock, dead, attempt, run } = change;
    const packed: ChangeRunCommand = {
      runId,
      guards,
      steps: change.steps.map((patch) => ({
        id: patch.stepId,
        update: packUpdate(STEP_UPDATES, patch),
        state: patch.state,
        ...(patch.fence === undefined ? {} : { fence: patch.fence }),
      })),
      records: packRecords(change.records, text),
    };
    if (newSteps?.length) packed.newSteps = newSteps.map(stepCells);
    if (removedSteps?.length) packed.removedSteps = removedSteps;
    if (newRuns?.length) packed.newRuns = newRuns.map((start) => this.run(start, text));
    if (change.newLaters?.length) packed.newLaters = change.newLaters;
    if (lock) packed.lock = [lock.namespace, lock.lock];
    if (unlock) packed.unlock = true;
    if (dead) packed.dead = deadLetterCells(dead);
    if (change.sideEffect) packed.sideEffect = change.sideEffect;
    if (attempt) packed.attempt = attemptCells(attempt);
    if (run) packed.run = packRunUpdate(run);
    return packed;
  }
}

function packRunUpdate(run: NonNullable<RunChange["run"]>): NonNullable<ChangeRunCommand["run"]> {
  const ended = run.state !== undefined && hasEnded(run.state);
  const open = run.state === undefined ? {} : { open: ended ? 0 : 1 };
  return { update: packUpdate(RUN_UPDATES, { ...run, ...open }), ended };
}

function packRecords(records: NewRecord[], text: TextWriter): PackedRecords {
  const packed: PackedRecords = [];
  for (const { lane, class: recordClass, body } of records) packed.push(lane, recordClass, text.add(body));
  return packed;
}

/** Calls back with each record; the text must be read in the order in which it was written. */
export function eachRecord(
  packed: PackedRecords,
  text: TextReader,
  put: (lane: number, recordClass: number, body: string) => void,
): void {
  for (let i = 0; i < packed.length; i += 3) put(packed[i]!, packed[i + 1]!, text.take(packed[i + 2]!));
}
