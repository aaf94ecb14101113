import type { CloudEvent, ProposedEvent } from "../../model/event.ts";
import type { Json } from "../../model/json.ts";
import type { RuleChanges, RuleMemory } from "../../model/rule.ts";
import type { NewRun } from "../../model/run-build.ts";
import type { ParentStep, Starter } from "../../model/run.ts";
import type { LaterEnd } from "../../model/schedule-later.ts";

/** One row of events as the store takes it. */
export interface EventRow {
  source: string;
  id: string;
  type: string;
  timeMs: number;
  body: string;
}

/** See src/agent/store/port.ts for the contract. */
export interface EventCommit {
  trigger: string;
  events: EventRow[];
  runs: { event: number; start: NewRun }[];
  rules?: RuleChanges;
  checkpoint: Json | undefined;
  later?: LaterEnding;
  recordedMs: number;
}

/** A run that was put off, and what becomes of it with this commit. */
export interface LaterEnding {
  id: string;
  state: LaterEnd;
}

/** An event that starts a run by itself, whatever the rules make of it. */
export interface StartingEvent {
  event: ProposedEvent & { id: string };
  /** What led to it. */
  chain?: Pick<CloudEvent, "causationid" | "hops">;
  start: {
    pipeline: string;
    starter: Starter;
    params: Json;
    rule?: string | null;
    parent?: ParentStep;
  } | null;
}

/** What became of a `StartingEvent`: whether it is new, and the run that it started. */
export interface Started {
  kept: boolean;
  run: string | null;
}

export interface EventStorePort {
  commitEvents(commit: EventCommit): Promise<{ duplicates: number[] }>;
  knownEvents(source: string, ids: string[]): Promise<string[]>;
  ruleMemory(keep: string[]): Promise<RuleMemory>;
}

/** Times of an evaluation: trusted for what rules compute, wall for display. */
export interface Times {
  trustedMs: number;
  wallMs: number;
}

/** What the rules make of some events. They have changed their memory already; the store has to take it over. */
export interface Evaluated {
  /** Events that the rules emit, to be committed after those handed in. */
  readonly derived: { event: CloudEvent; body: string }[];
  /** `index`: among the events handed in and then the derived ones. */
  readonly runs: { rule: string; pipeline: string; params: Json; event: CloudEvent; index: number }[];
  /** It depends on what the rules remember, and so on every commit before it. */
  readonly stateful: boolean;
  /** Called once. */
  changes(): RuleChanges | null;
}

export interface RulesPort {
  readonly keep: string[];
  load(memory: RuleMemory, trustedMs: number): void;
  concerns(trigger: string): boolean;
  evaluate(trigger: string, given: { event: CloudEvent; timed: boolean }[], times: Times): Evaluated;
  due(nowMs: number): number | null;
  fireDue(times: Times): Evaluated | null;
  failed(rule: string, message: string): void;
}

export interface RunsPort {
  /** Resolves when there is room for more open runs: this is the back-pressure on triggers. */
  room(): Promise<void>;
  build(asked: {
    pipeline: string;
    starter: Starter;
    event: CloudEvent;
    params: Json;
    rule?: string | null;
    parent?: ParentStep;
  }): NewRun;
  /** The run with its first lease, where that may be had now; else as it is. To be admitted or dropped. Does not throw. */
  lease(made: NewRun): NewRun;
  /** Takes over runs that are committed. */
  admit(runs: NewRun[]): void;
  /** Runs that did not come into being. */
  drop(runs: NewRun[]): void;
}
