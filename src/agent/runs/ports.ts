import type { CloudEvent } from "../../model/event.ts";
import type { JsonObject } from "../../model/json.ts";
import type { Addition, PipelineDefinition } from "../../model/pipeline.ts";
import type { NewRecord } from "../../model/record.ts";
import type { NewRun } from "../../model/run-build.ts";
import type { AttemptRow, DeadLetter, LockPlace, OpenRun, RunRow, StepRow } from "../../model/run.ts";
import type { LaterRun } from "../../model/schedule-later.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";

type StepPatch = Pick<StepRow, "stepId" | "state"> & Partial<Omit<StepRow, "stepId" | "state">>;

/** One durable change of one run (see src/agent/store/port.ts for the contract). */
export interface RunChange {
  runId: string;
  guards: { stepId: string; fence: number; state: StepRow["state"] }[];
  steps: StepPatch[];
  newSteps?: StepRow[];
  removedSteps?: string[];
  newRuns?: NewRun[];
  newLaters?: LaterRun[];
  lock?: { namespace: string; lock: string };
  unlock?: boolean;
  dead?: DeadLetter;
  sideEffect?: { minute: number; pipeline: string };
  attempt?: AttemptRow;
  run?: Partial<
    Pick<RunRow, "state" | "reason" | "startedMs" | "endedMs" | "stop" | "deadlineMs" | "output">
  >;
  records: NewRecord[];
}

export interface RunStorePort {
  startRuns(runs: NewRun[]): Promise<void>;
  changeRun(change: RunChange): Promise<boolean>;
  openRuns(): Promise<OpenRun[]>;
  run(id: string): Promise<{ run: RunRow; steps: StepRow[]; attempts: AttemptRow[] } | null>;
  lockPlaces(): Promise<LockPlace[]>;
  sideEffects(sinceMinute: number): Promise<{ minute: number; pipeline: string; count: number }[]>;
  /** Child and spawned runs of a run. */
  childRuns(runId: string): Promise<RunRow[]>;
  event(source: string, id: string): Promise<CloudEvent | null>;
  deadLetter(runId: string): Promise<DeadLetter | null>;
  dropDeadLetter(runId: string, retry?: NewRun): Promise<boolean>;
}

export interface ActionCall {
  action: string;
  /** The pipeline's: whose memory and locks the action shares. */
  namespace: string;
  input: JsonObject;
  /** Names of the secrets whose places the input may hold; they are filled in as the worker is told. */
  secrets: string[];
  /** Stable over attempts. */
  key: string;
  run: string;
  step: string;
  attempt: number;
  timeoutMs: number;
  /** Steps that the action asks for while it runs: resolves when they are durable, throws `invalid` or `conflict`. */
  add(additions: Addition[]): Promise<void>;
}

/** What stops the side effects of runs that no person started (`holdfast brake`). */
export interface BrakePort {
  /** Why nothing of them may begin now; null when it may. */
  reason(): string | null;
  /** Called when it comes on, also when it was on already, and once it is off. */
  onChange(listener: (on: boolean) => void): void;
}

/** Keeps the runs that actions put off. */
export interface LaterPort {
  /** False when there are as many as there may be. */
  hasRoom(count: number): boolean;
  /** Takes over what is committed. */
  added(rows: LaterRun[]): void;
}

export interface ActionPort {
  /** Aborting the signal stops the work for real; the promise settles when nothing of it runs any more. */
  invoke(call: ActionCall, signal: AbortSignal): Promise<AttemptOutcome>;
}

/** Parameters that a run finds where nothing was given to it; see src/agent/parameters/parameters.ts. */
export interface SharedParametersPort {
  json(namespace: string): JsonObject;
  cel(namespace: string): Record<string, unknown>;
}

/** What expressions of a step see as `memory`: committed values. */
export interface RunMemoryPort {
  values(namespace: string): Record<string, unknown>;
  /** Null when the namespace is at hand. */
  ready(namespace: string): Promise<void> | null;
}

/** A run under way, as plans see it (`HeldRun` is what the engine holds of it). */
export interface LiveRun {
  run: RunRow;
  steps: Map<string, StepRow>;
  definition: PipelineDefinition;
  event: CloudEvent | null;
}
