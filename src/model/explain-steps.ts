import { isoOrNull, isoTime } from "../core/iso-time.ts";
import type { ExplainedAttempt, ExplainedStep, ExplainedWord, ExplainFacts, Who } from "./explanation.ts";
import type { StepDefinition } from "./pipeline.ts";
import { definitionOf } from "./run-step-definition.ts";
import { type AttemptRow, hasEnded, STEP_PARTS, type StepRow, stepKey } from "./run.ts";

type WhoOf = (by: string) => Who;

/** The steps in the order of their parts. */
export function explainSteps(facts: ExplainFacts, who: WhoOf): ExplainedStep[] {
  const attempts = Map.groupBy(facts.attempts, ({ stepId }) => stepId);
  return facts.steps
    .filter(({ stepId }) => facts.step === undefined || stepId === facts.step)
    .toSorted((a, b) => STEP_PARTS.indexOf(a.part) - STEP_PARTS.indexOf(b.part) || a.position - b.position)
    .map((row) => explainStep(row, attempts.get(row.stepId) ?? [], facts, who));
}

function explainStep(row: StepRow, tried: AttemptRow[], facts: ExplainFacts, who: WhoOf): ExplainedStep {
  const definition = definedBy(row, facts);
  const { extra } = row;
  const asked = extra?.approval;
  return {
    step: row.stepId,
    part: row.part,
    action: definition?.action ?? "-",
    work: definition?.work ?? "action",
    effect: definition?.effect ?? "-",
    state: row.state,
    waits: row.waits,
    reason: row.reason,
    key: stepKey(row.runId, row.stepId),
    done: doneBy(tried),
    startedAt: isoOrNull(row.startedMs),
    endedAt: isoOrNull(row.endedMs),
    attempts: tried.map((attempt) => explainAttempt(attempt, row, facts)),
    approval: asked ? { text: asked.text, approvers: asked.approvers } : null,
    words: wordsOn(row, who),
    child: extra?.child ?? null,
    held: heldBy(row, facts),
  };
}

/** A damaged row, or an older version's, may name what its pipeline does not have. */
function definedBy(row: StepRow, { definition }: ExplainFacts): StepDefinition | undefined {
  try {
    return definitionOf(definition, row);
  } catch {
    return undefined;
  }
}

function explainAttempt(attempt: AttemptRow, step: StepRow, { workers }: ExplainFacts): ExplainedAttempt {
  const { number, state, facts, error } = attempt;
  // An error that was followed by another attempt is also among those of the step: that one is written last.
  const kept = step.extra?.errors?.find((each) => each.attempt === number)?.error ?? null;
  return {
    ...{ number, state, error: error ?? kept },
    startedAt: isoTime(attempt.startedMs),
    endedAt: isoOrNull(attempt.endedMs),
    worker: (facts?.worker && workers[facts.worker]) || null,
    ended: facts?.ended ?? null,
  };
}

/** An error with `started: false` vouches that nothing was done; any other says nothing of it. */
function doneBy(attempts: AttemptRow[]): ExplainedStep["done"] {
  if (attempts.some(({ state }) => state === "succeeded")) return "yes";
  const open = attempts.some(({ state, error }) => state !== "failed" || error?.started !== false);
  return open ? "maybe" : "no";
}

function wordsOn({ extra, state, endedMs }: StepRow, who: WhoOf): ExplainedWord[] {
  const asked = extra?.approval;
  const answered: ExplainedWord[] =
    asked?.by === undefined
      ? []
      : [
          {
            ...who(asked.by),
            approved: state === "succeeded",
            at: isoOrNull(endedMs),
            note: asked.note ?? "",
          },
        ];
  const decided = (extra?.decisions ?? []).map(({ by, approve, atMs, note }) => ({
    ...{ ...who(by), approved: approve, at: isoTime(atMs), note },
  }));
  return [...answered, ...decided];
}

const HOLDING = new Set(["limited", "circuit_open"]);

function heldBy({ stepId, state, waits, error, reason }: StepRow, { heldBack }: ExplainFacts): string | null {
  if (!hasEnded(state) && heldBack && (heldBack.whole || heldBack.steps.includes(stepId)))
    return heldBack.reason;
  if (error !== null && HOLDING.has(error.code)) return `${error.code}: ${error.message}`;
  return waits === "lock" ? (reason ?? "waits for a lock") : null;
}
