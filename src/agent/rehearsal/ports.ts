import type { CloudEvent, Severity } from "../../model/event.ts";
import type { FindingChange } from "../../model/finding.ts";
import type { Json } from "../../model/json.ts";
import type { FindingRow } from "../../model/rule.ts";

/** An event as the store has it; see src/agent/store/past-reader.ts. */
export interface PastEvent {
  n: number;
  source: string;
  id: string;
  type: string;
  timeMs: number;
  recordedMs: number;
  stored: string;
}

export interface PastRun {
  n: number;
  id: string;
  rule: string;
  pipeline: string;
  eventN: number;
  params: Json;
  createdMs: number;
}

/** What happened, in the order of its commits. */
export interface PastPort {
  bounds(): { first: number; last: number } | null;
  beganMs(): number | null;
  events(after: number, to: number, limit: number): PastEvent[];
  event(n: number): PastEvent | null;
  timesBefore(n: number, limit: number): [n: number, recordedMs: number][];
  eventsOf(source: string, type: string): PastEvent[];
  body(event: PastEvent): string;
  runs(after: number, fromEvent: number, limit: number): PastRun[];
  runsKeptFrom(): number;
  findingsOpenAt(wallMs: number, limit: number): FindingRow[];
  findingCount(id: string): number | null;
}

export interface Times {
  trustedMs: number;
  wallMs: number;
}

/** What rules make of something. */
export interface Evaluated {
  readonly derived: { event: CloudEvent }[];
  readonly runs: { rule: string; pipeline: string; params: Json; event: CloudEvent }[];
  /** Findings as they stand after it. */
  findings(): Iterable<FindingRow>;
}

export interface RuleCounts {
  evaluated: number;
  matched: number;
  fired: number;
  errors: number;
  lastError: string | null;
}

export interface RulesPort {
  load(memory: { states: []; entries: []; openFindings: FindingRow[] }, trustedMs: number): void;
  /** False when no rule would look at such an event. */
  wants(trigger: string, type: string): boolean;
  evaluate(trigger: string, given: { event: CloudEvent; timed: boolean }[], times: Times): Evaluated;
  due(nowMs: number): number | null;
  fireDue(times: Times): Evaluated | null;
  changeFinding(stored: FindingRow, change: FindingChange, times: Times): { evaluated: Evaluated };
  failed(rule: string, message: string): void;
  counters(): { rule: string; counters: RuleCounts }[];
}

/** Makes the run that a rule asks for, in mind only: its parameters. Throws what keeps it from being made. */
export type BuildRun = (asked: { rule: string; pipeline: string; event: CloudEvent; params: Json }) => Json;

/** `same`: both; `changed`: both, with other parameters; `added`: only the proposed rules; `removed`: only what happened. */
export type Verdict = "same" | "changed" | "added" | "removed" | "failed" | "unknown";

/** Something that rules do, in the past or in the rehearsal. Times are wall time as the host said it then. */
export interface Deed {
  kind: "run" | "opened" | "resolved";
  rule: string;
  /** The pipeline, or the key of the finding. */
  what: string;
  /** What it goes back to: the number of an event, or what time alone brought about. */
  root: string;
  atMs: number;
  event: { source: string; id: string; type: string; subject: string | null } | null;
  /** Parameters of the run, or title and severity of the finding. */
  detail: Json;
  /** Only of a run that happened. */
  run: string | null;
}

/** One line of the result. */
export interface Compared {
  verdict: Verdict;
  deed: Deed;
  /** Of `changed`: what happened. */
  was: Deed | null;
  /** Of `failed`. */
  reason: string | null;
}

export interface FindingFacts {
  key: string;
  severity: Severity | null;
  title: string;
}
