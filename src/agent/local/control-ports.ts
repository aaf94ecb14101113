import type { Clock } from "../../core/clock.ts";
import type { Ids } from "../../core/ids.ts";
import type { Logger } from "../../core/logger.ts";
import type { BrakeSet } from "../../model/brake.ts";
import type { ConfigOrigin } from "../../model/attempt-facts.ts";
import type { CloudEvent, ProposedEvent } from "../../model/event.ts";
import type { FindingChange, FindingFilter } from "../../model/finding.ts";
import type { Json, JsonObject } from "../../model/json.ts";
import type { MemoryEntry, MemoryListing } from "../../model/memory.ts";
import type { PipelineDefinition } from "../../model/pipeline.ts";
import type { FindingRow } from "../../model/rule.ts";
import type { ControlTimes } from "./control-schedules.ts";
import type { LoggedLines } from "./plugin-lines.ts";
import type { ListedSecret } from "../../model/secret.ts";
import type { Match, Mute, Silence } from "../../model/silence.ts";
import type { ListedParameter, SetParameter } from "../../model/shared-parameter.ts";
import type { AttemptRow, DeadLetter, RunRow, RunState, StepRow } from "../../model/run.ts";

export interface FoundRun {
  number: number;
  run: RunRow;
  steps: StepRow[];
  attempts: AttemptRow[];
  definition: PipelineDefinition;
}

/** What the routes read and change in the store (see src/agent/store/port.ts for the contract). */
export interface ControlStore {
  run(id: string): Promise<FoundRun | null>;
  runs(filter: {
    pipeline?: string;
    state?: RunState;
    open?: boolean;
    before?: number;
    limit: number;
  }): Promise<{ number: number; run: RunRow }[]>;
  childRuns(runId: string): Promise<RunRow[]>;
  event(source: string, id: string): Promise<CloudEvent | null>;
  eventsById(id: string): Promise<CloudEvent[]>;
  texts(hashes: string[]): Promise<Record<string, string>>;
  events(filter: {
    source?: string;
    type?: string;
    before?: number;
    limit: number;
  }): Promise<{ n: number; body: string }[]>;
  eventsAfter(n: number, limit: number): Promise<{ n: number; body: string }[]>;
  lastEvent(): Promise<number>;
  deadLetters(limit: number, before?: number): Promise<(DeadLetter & { number: number })[]>;
  deadLetter(runId: string): Promise<DeadLetter | null>;
  editDeadLetter(runId: string, params: Json): Promise<boolean>;
  dropDeadLetter(runId: string): Promise<boolean>;
  findings(filter: FindingFilter, limit: number): Promise<FindingRow[]>;
  /** By id or an unambiguous part of one. */
  finding(id: string): Promise<FindingRow | null>;
  onOutbox(listener: () => void): void;
}

/** What plugins share (see src/agent/memory/memory.ts). */
export interface ControlMemory {
  get(namespace: string, key: string): Promise<MemoryEntry | null>;
  /** Whoever has checked it out is told so at the update. */
  set(namespace: string, key: string, value: Json, ttlMs: number | null): Promise<void>;
  /** False when there was none. */
  delete(namespace: string, key: string): Promise<boolean>;
  list(
    filter: { namespace: string | null; prefix: string; after: [namespace: string, key: string] },
    limit: number,
  ): Promise<MemoryListing[]>;
}

/** Parameters that pipelines share (see src/agent/parameters/parameters.ts). */
export interface ControlParameters {
  list(namespace: string | undefined, winning: boolean): ListedParameter[];
  set(parameter: Omit<SetParameter, "changedMs">): Promise<void>;
  remove(namespace: string | null, name: string): Promise<boolean>;
}

/** Sealed secrets (see src/agent/secrets/secrets.ts). */
export interface ControlSecrets {
  list(): ListedSecret[];
  problem(): string | null;
  set(wanted: { namespace: string | null; name: string; value: string; changedBy: string }): Promise<void>;
  remove(namespace: string | null, name: string): Promise<boolean>;
  rotate(): Promise<number>;
}

/** What stops side effects (see src/agent/silences/brake.ts); `untilMs` in trusted time. */
export interface ControlBrake {
  state(): { on: boolean; set: BrakeSet | null; windows: { name: string; untilMs: number }[] };
  on(asked: { by: string; reason: string; forMs: number | null }): Promise<void>;
  off(by: string): Promise<boolean>;
}

/** A silence or a maintenance window (see src/agent/silences/silences.ts). Times: trusted, but for `nextMs`. */
export interface ControlSilence extends Omit<Silence, "untilMs"> {
  untilMs: number | null;
  state: string;
  nextMs: number | null;
}

export interface ControlSilences {
  /** Windows first, then silences, the newest first. */
  list(): ControlSilence[];
  show(id: string): ControlSilence;
  add(asked: { match: Match[]; mute: Mute[]; forMs: number; comment: string; by: string }): Promise<Silence>;
  end(id: string, by: string): Promise<Silence>;
}

/** The engine's commands; `by` is recorded, like `local:1000`. Each resolves when it is durable. */
export interface ControlEngine {
  start(asked: { pipeline: string; params: JsonObject; by: string }): Promise<string>;
  cancel(runId: string, by: string, reason: string): Promise<void>;
  decide(
    runId: string,
    stepId: string,
    decision: { approve: boolean; by: string; uid: number; note: string },
  ): Promise<void>;
  retry(runId: string, by: string): Promise<string>;
  retryDead(runId: string, by: string): Promise<string>;
}

/** A rule and what it did: its settings, counters since start, and firings over restarts. */
export interface ControlRule {
  name: string;
  enabled: boolean;
  priority: number;
  on: string[];
  kind: string;
  counters: object;
  fired: number;
  /** Wall time. */
  lastFiredMs: number | null;
}

/** What the control socket can do. `engine` and `emit` throw where the agent has nothing configured to run. */
export interface ControlPorts {
  agent: string;
  status(): Promise<JsonObject>;
  resetTrigger(name: string): boolean;
  store: ControlStore;
  memory: ControlMemory;
  parameters: ControlParameters;
  secrets: ControlSecrets;
  /** Takes what was handed out out of every answer. */
  mask: (text: string) => string;
  engine(): ControlEngine;
  /** Open runs with their steps under way. */
  live(): { id: string; steps: string[]; overdue: boolean; heldBack: string | null }[];
  /** What the brake holds back of a run, and why; null when nothing is. `whole`: it has not begun. */
  heldBack(runId: string): { reason: string; whole: boolean; steps: string[] } | null;
  /** In all. */
  held(): { runs: number; steps: number };
  brake: ControlBrake;
  silences: ControlSilences;
  pipelines(): PipelineDefinition[];
  /** What plugins logged in the attempts of a run that began at this wall time or later. */
  linesOf(plugins: string[], run: string, sinceMs: number): Promise<LoggedLines>;
  /** The configuration in force, as runs go back to it. */
  origin(): ConfigOrigin | null;
  /** In the order in which they are asked. */
  rules(): ControlRule[];
  /** Null for an agent that has nothing to run. */
  schedules(): ControlTimes | null;
  /** Records an event of the trigger `manual`; resolves with its source when it is durable. */
  emit(event: ProposedEvent & { id: string }): Promise<void>;
  /** Resolves when it is durable. Throws `not_found`, and `conflict` when the finding's state does not allow it. */
  changeFinding(id: string, change: FindingChange): Promise<FindingRow>;
  clock: Clock;
  ids: Pick<Ids, "next">;
  log: Logger;
}
