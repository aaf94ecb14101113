import { HoldfastError } from "../core/errors.ts";
import type { Severity } from "./event.ts";

export const FINDING_STATES = ["open", "acknowledged", "resolved"] as const;
export type FindingState = (typeof FINDING_STATES)[number];

/** Why a finding is over: it was true and is no more, or it never was. */
export type FindingResolution = "resolved" | "false_positive";

/** Who resolves a finding when no person does: a rule's `resolved_when`, and its `resolve_after`. */
export const RESOLVED_BY_RULE = "rule";
export const RESOLVED_BY_TIME = "time";

export const MAX_NOTE = 2000;
export const MAX_NOTES = 100;

export interface FindingNote {
  by: string;
  /** Wall time. */
  atMs: number;
  text: string;
}

/** What a finding has beside its columns. */
export interface FindingExtra {
  /** The event that raised it last, and how far down a chain of causes that was. */
  event?: { source: string; id: string; hops: number };
  /** The run that its rule started last, with the event of that time. */
  run?: string;
  /** Trusted time at which it is resolved unless it is raised again. */
  resolveAtMs?: number;
  acknowledged?: { by: string; atMs: number };
  resolution?: { kind: FindingResolution; by: string; reason: string };
  notes?: FindingNote[];
  /** Raised last under a silence, or a maintenance window. `untold`: it was never told without one. */
  silenced?: { by: string; untold: boolean };
}

/** What keeps events of a finding from people: they were never told of it. */
export function silencedOf(extra: FindingExtra | undefined): string | null {
  return extra?.silenced?.untold ? extra.silenced.by : null;
}

/** Which findings a list has. Times are wall time. */
export interface FindingFilter {
  state?: FindingState | "unresolved";
  severity?: Severity;
  rule?: string;
  /** Raised last at this time or after it. */
  sinceMs?: number;
  /** Id of the finding to go on before; not in the order of severity. */
  before?: string;
  /** Newest when absent. */
  order?: "severity";
}

/** What a person does with a finding. */
export type FindingChange =
  | { kind: "acknowledge"; by: string }
  | { kind: "note"; by: string; text: string }
  | { kind: "resolve"; by: string; falsePositive: boolean; reason: string };

/** Which state a change leads to. What is not here is refused; raised again, a resolved finding is a new one. */
export const FINDING_TRANSITIONS: Record<
  FindingState,
  Partial<Record<FindingChange["kind"], FindingState>>
> = {
  open: { acknowledge: "acknowledged", note: "open", resolve: "resolved" },
  acknowledged: { note: "acknowledged", resolve: "resolved" },
  resolved: { note: "resolved" },
};

interface Changeable {
  id: string;
  state: FindingState;
  resolvedMs: number | null;
  extra?: FindingExtra;
}

/** The finding as the change leaves it. Throws `conflict` for one that its state does not allow. */
export function changedFinding<F extends Changeable>(finding: F, change: FindingChange, wallMs: number): F {
  const { id, state, extra } = finding;
  const next = FINDING_TRANSITIONS[state][change.kind];
  if (next === undefined) throw refused(id, state, change.kind);
  switch (change.kind) {
    case "acknowledge":
      return { ...finding, state: next, extra: { ...extra, acknowledged: { by: change.by, atMs: wallMs } } };
    case "note": {
      const notes = extra?.notes ?? [];
      if (notes.length >= MAX_NOTES) {
        throw new HoldfastError(
          "conflict",
          `finding ${id} has ${MAX_NOTES} notes already, and takes no more`,
        );
      }
      const note = { by: change.by, atMs: wallMs, text: change.text };
      return { ...finding, state: next, extra: { ...extra, notes: [...notes, note] } };
    }
    case "resolve": {
      const kind = change.falsePositive ? "false_positive" : "resolved";
      return resolvedFinding(finding, { kind, by: change.by, reason: change.reason }, wallMs);
    }
  }
}

export function resolvedFinding<F extends Changeable>(
  finding: F,
  resolution: NonNullable<FindingExtra["resolution"]>,
  wallMs: number,
): F {
  const { resolveAtMs: _, ...extra } = finding.extra ?? {};
  return { ...finding, state: "resolved", resolvedMs: wallMs, extra: { ...extra, resolution } };
}

function refused(id: string, state: FindingState, kind: FindingChange["kind"]): HoldfastError {
  const wanted = `${kind}d`;
  return new HoldfastError(
    "conflict",
    `finding ${id} is ${state}, and cannot be ${wanted}: ${
      state === "resolved" ? "it is over; raised again it is a new finding" : "somebody did so before"
    }`,
  );
}
