import type { CloudEvent } from "../../model/event.ts";
import type { JsonObject } from "../../model/json.ts";
import type { NewRecord } from "../../model/record.ts";
import type { AttemptRow, OpenRun, RunRow, StepRow } from "../../model/run.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";

type StepPatch = Pick<StepRow, "stepId" | "state"> & Partial<Omit<StepRow, "stepId" | "state">>;

export interface RunChange {
  runId: string;
  guards: { stepId: string; fence: number; state: StepRow["state"] }[];
  steps: StepPatch[];
  newSteps?: StepRow[];
  attempt?: AttemptRow;
  run?: Partial<Pick<RunRow, "state" | "reason" | "startedMs" | "endedMs">>;
  records: NewRecord[];
}

export interface RunStorePort {
  changeRun(change: RunChange): Promise<boolean>;
  openRuns(): Promise<OpenRun[]>;
}

export interface ActionCall {
  action: string;
  input: JsonObject;
  /** Stable over attempts. */
  key: string;
  run: string;
  step: string;
  attempt: number;
  timeoutMs: number;
}

export interface ActionPort {
  invoke(call: ActionCall, signal: AbortSignal): Promise<AttemptOutcome>;
}

/** A run under way, as the engine holds it. Its changes go one after the other. */
export interface LiveRun {
  run: RunRow;
  steps: Map<string, StepRow>;
  definition: OpenRun["definition"];
  event: CloudEvent | null;
  /** The last change; the next waits for it. */
  tail: Promise<void>;
}
