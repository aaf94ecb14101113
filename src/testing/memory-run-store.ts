import type { CloudEvent } from "../model/event.ts";
import type { Json } from "../model/json.ts";
import type { NewRun } from "../model/run-build.ts";
import {
  type AttemptRow,
  type DeadLetter,
  hasEnded,
  type LockPlace,
  type OpenRun,
  type RunRow,
  type StepRow,
} from "../model/run.ts";
import type { RunChange, RunStorePort } from "../agent/runs/ports.ts";

interface Kept extends OpenRun {
  attempts: AttemptRow[];
}

/**
 * The runs' part of the agent's store, in memory: a change is made as a whole when every guard holds, else not at all.
 * What goes in and comes out is copied, so that nobody shares rows with it.
 */
export class MemoryRunStore implements RunStorePort {
  readonly runs = new Map<string, Kept>();
  readonly changes: RunChange[] = [];
  readonly letters = new Map<string, DeadLetter>();
  readonly events = new Map<string, CloudEvent>();
  places: LockPlace[] = [];
  /** So many of the next changes fail as on a full disk. */
  failNext = 0;
  /** While set, changes wait for it before they are made. */
  pause: Promise<void> | null = null;
  readonly #sideEffects: { minute: number; pipeline: string }[] = [];
  #n = 0;

  /** A run that an event or a person begins. */
  keep(made: NewRun, event: CloudEvent | null = null): void {
    const { key } = made.run.parent ?? {};
    if (key !== undefined && [...this.runs.values()].some(({ run }) => run.parent?.key === key)) return;
    const { run, steps, definition, lease } = structuredClone(made);
    this.runs.set(run.id, { run, steps, definition, event, attempts: lease ? [lease.attempt] : [] });
    if (lease?.sideEffect) this.#sideEffects.push(lease.sideEffect);
    if (event) this.events.set(`${event.source} ${event.id}`, event);
  }

  step(runId: string, stepId: string): StepRow {
    const step = this.runs.get(runId)?.steps.find((row) => row.stepId === stepId);
    if (!step) throw new Error(`run ${runId} has no step ${stepId}`);
    return step;
  }

  async startRuns(runs: NewRun[]): Promise<void> {
    await Promise.resolve();
    for (const made of runs) this.keep(made);
  }

  async changeRun(change: RunChange): Promise<boolean> {
    await Promise.resolve();
    if (this.pause) await this.pause;
    if (this.failNext > 0) {
      this.failNext--;
      throw new Error("no space left on device");
    }
    const kept = this.runs.get(change.runId);
    if (!kept) return false;
    for (const { stepId, fence, state } of change.guards) {
      const step = kept.steps.find((row) => row.stepId === stepId);
      if (step?.fence !== fence || step.state !== state) return false;
    }
    this.#apply(kept, structuredClone(change));
    this.changes.push(structuredClone(change));
    return true;
  }

  async openRuns(): Promise<OpenRun[]> {
    const open = [...this.runs.values()].filter(({ run }) => !hasEnded(run.state));
    return structuredClone(
      open.map(({ run, steps, definition, event }) => ({ run, steps, definition, event })),
    );
  }

  async run(id: string): Promise<{ run: RunRow; steps: StepRow[]; attempts: AttemptRow[] } | null> {
    return structuredClone(this.runs.get(id) ?? null);
  }

  async childRuns(runId: string): Promise<RunRow[]> {
    return structuredClone(
      [...this.runs.values()].map(({ run }) => run).filter(({ parent }) => parent?.run === runId),
    );
  }

  async lockPlaces(): Promise<LockPlace[]> {
    return structuredClone(this.places);
  }

  async sideEffects(sinceMinute: number): Promise<{ minute: number; pipeline: string; count: number }[]> {
    const later = this.changes.flatMap(({ sideEffect }) => sideEffect ?? []);
    const counted = [...this.#sideEffects, ...later];
    return counted.filter(({ minute }) => minute >= sinceMinute).map((each) => ({ ...each, count: 1 }));
  }

  async event(source: string, id: string): Promise<CloudEvent | null> {
    return this.events.get(`${source} ${id}`) ?? null;
  }

  async deadLetter(runId: string): Promise<DeadLetter | null> {
    return structuredClone(this.letters.get(runId) ?? null);
  }

  async dropDeadLetter(runId: string, retry?: NewRun): Promise<boolean> {
    if (!this.letters.delete(runId)) return false;
    if (retry) this.keep(retry);
    return true;
  }

  editParams(runId: string, params: Json): void {
    this.letters.get(runId)!.params = params;
  }

  #apply(kept: Kept, change: RunChange): void {
    for (const patch of change.steps) {
      const step = kept.steps.find((row) => row.stepId === patch.stepId);
      if (!step) throw new Error(`run ${change.runId} has no step ${patch.stepId} to change`);
      Object.assign(step, patch);
    }
    kept.steps = kept.steps.filter(({ stepId }) => !change.removedSteps?.includes(stepId));
    for (const step of change.newSteps ?? []) {
      if (kept.steps.some(({ stepId }) => stepId === step.stepId))
        throw new Error(`step ${step.stepId} is there already`);
      kept.steps.push(step);
    }
    for (const made of change.newRuns ?? []) this.keep(made, kept.event);
    if (change.lock) this.#lock(change.runId, change.lock);
    if (change.unlock) this.places = this.places.filter(({ runId }) => runId !== change.runId);
    if (change.dead) this.letters.set(change.runId, change.dead);
    const { attempt } = change;
    if (attempt) {
      const others = kept.attempts.filter(
        (row) => row.stepId !== attempt.stepId || row.number !== attempt.number,
      );
      kept.attempts = [...others, attempt];
    }
    Object.assign(kept.run, change.run);
  }

  #lock(runId: string, { namespace, lock }: { namespace: string; lock: string }): void {
    const has = this.places.some(
      (place) => place.runId === runId && place.namespace === namespace && place.lock === lock,
    );
    if (!has) this.places.push({ n: ++this.#n, namespace, lock, runId });
  }
}
