import { messageOf } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import type { JsonObject } from "../../model/json.ts";
import { type StepRow, stepKey } from "../../model/run.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import type { Additions } from "./additions.ts";
import { type Beginning, ofInput } from "./beginning.ts";
import { boundOutput } from "./bound-output.ts";
import { type Breakers, type Passage, passage } from "./breakers.ts";
import type { HeldBack } from "./held-back.ts";
import { type Attempt, type HeldRun, isRuleStarted } from "./held-run.ts";
import { planLease } from "./plan-lease.ts";
import { planCancelled, planOutcome, planUnstarted } from "./plan-outcome.ts";
import { planStop } from "./plan-stop.ts";
import type { Times } from "./plan.ts";
import { planTimeout } from "./plan-waits.ts";
import type { ActionPort } from "./ports.ts";
import type { RunChanges } from "./run-changes.ts";
import { minuteOf, type SideEffects } from "./side-effects.ts";

interface Options {
  changes: RunChanges;
  actions: ActionPort;
  additions: Additions;
  breakers: Breakers;
  sideEffects: SideEffects;
  heldBack: HeldBack;
  counters: { attempts: number; unknown: number; limited: number };
  ids: Ids;
  maxOutputBytes: number;
  killing: AbortSignal;
}

interface Work {
  action: string;
  input: JsonObject;
  secrets: string[];
  timeoutMs: number;
  free: () => void;
}

/** What an attempt does, as it was found before its lease. */
export interface Call {
  input: JsonObject;
  through: Passage | null;
}

/** The lease was made while the run was being stopped: the action was never told. */
const NOT_CALLED: AttemptOutcome = {
  kind: "error",
  error: { code: "cancelled", message: "it was stopped before it began", retryable: false, started: false },
};

/** Attempts of actions: circuit and caps, lease, the call itself, and what its outcome means. */
export class ActionWork {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /** `free`: nothing of the action runs any more. */
  async run(beginning: Beginning, free: () => void): Promise<void> {
    const { held, step } = beginning;
    const { breakers, changes, heldBack, killing } = this.#options;
    if (killing.aborted) return;
    const call = callOf(beginning);
    const { through } = call;
    const nowMs = changes.now().trustedMs;
    const refused = through && breakers.refusal(through, nowMs);
    if (refused !== null) return await this.#refused(held, step, refused);
    const counted = isRuleStarted(held);
    const limited = counted ? this.#limit(held, step, nowMs) : null;
    let braked = false;
    const mayLease = () => !(braked = heldBack.refusal(held) !== null);
    if (limited === null) {
      const attempt: Attempt = { controller: new AbortController(), cause: null };
      held.attempts.set(step.stepId, attempt);
      try {
        const lease = (live: HeldRun, row: StepRow, now: Times) => {
          if (!mayLease()) return null;
          const planned = planLease(live, row, now);
          const { pipeline } = live.run;
          if (counted) planned.change.sideEffect = { minute: minuteOf(nowMs), pipeline };
          return planned;
        };
        const leased = await changes.ofStep(held, step, lease, mayLease);
        if (leased !== null) return await this.#attempt(beginning, attempt, call, free);
      } finally {
        forget(held, step.stepId, attempt);
      }
    }
    if (through) breakers.withdraw(through);
    if (limited !== null) await this.#limited(held, step, limited);
    else if (counted) this.#options.sideEffects.takeBack(held.run.pipeline, nowMs);
    if (braked) heldBack.park(held, step.stepId);
  }

  /** The attempt of a step whose lease became durable with its run. */
  async goOn(beginning: Beginning, call: Call, free: () => void): Promise<void> {
    const { held, step } = beginning;
    const attempt: Attempt = { controller: new AbortController(), cause: null };
    held.attempts.set(step.stepId, attempt);
    try {
      await this.#attempt(beginning, attempt, call, free);
    } finally {
      forget(held, step.stepId, attempt);
    }
  }

  async #attempt(
    { held, step: { stepId }, definition, compiled }: Beginning,
    attempt: Attempt,
    { input, through }: Call,
    free: () => void,
  ): Promise<void> {
    const { changes, breakers, counters, killing } = this.#options;
    const { action, timeoutMs } = definition;
    const work = { action, input, secrets: compiled.secrets, timeoutMs, free };
    const leased = held.steps.get(stepId)!;
    // The agent gave up while the lease was being written: it stays, for the next start to look at.
    if (attempt.cause === null && killing.aborted) return;
    counters.attempts++;
    const outcome = attempt.controller.signal.aborted
      ? NOT_CALLED
      : await this.#invoke(held, leased, attempt.controller.signal, work);
    held.attempts.delete(stepId);
    if (outcome.kind === "unknown") counters.unknown++;
    if (through && attempt.cause !== "stop") breakers.observe(through, outcome, changes.now().trustedMs);
    else if (through) breakers.withdraw(through);
    // Cut off by the agent's own stop: the lease stays, and the next start finds the attempt as unknown.
    if (outcome.kind === "unknown" && attempt.cause === null && killing.aborted) return;
    const settled = this.settle(held, leased, outcome, attempt.cause);
    // The next step's lease may share the transaction of this one's result.
    work.free();
    await settled;
  }

  async #invoke(held: HeldRun, leased: StepRow, signal: AbortSignal, work: Work): Promise<AttemptOutcome> {
    const { actions, additions } = this.#options;
    const { id } = held.run;
    try {
      const call = {
        action: work.action,
        namespace: held.definition.namespace,
        input: work.input,
        secrets: work.secrets,
        key: stepKey(id, leased.stepId),
        run: id,
        step: leased.stepId,
        attempt: leased.attempts,
        timeoutMs: work.timeoutMs,
        add: additions.of(held, leased),
      };
      return await actions.invoke(call, signal);
    } catch (error) {
      const message = `the call of ${work.action} broke off: ${messageOf(error)}`;
      return { kind: "unknown", error: { code: "crashed", message, retryable: true, started: true } };
    }
  }

  /** What the end of an attempt means. `cause`: why it was aborted; a success that came all the same counts. */
  async settle(
    held: HeldRun,
    { stepId, fence }: StepRow,
    outcome: AttemptOutcome,
    cause: Attempt["cause"],
  ): Promise<void> {
    const { changes, ids, maxOutputBytes } = this.#options;
    const told: AttemptOutcome =
      outcome.kind === "ok" ? { ...outcome, output: boundOutput(outcome.output, maxOutputBytes) } : outcome;
    await changes.change(held, (now) => {
      // The row as it is by now: what the action added is counted in it.
      const row = held.steps.get(stepId);
      if (row?.state !== "running" || row.fence !== fence) return null;
      if (told.kind !== "ok" && cause === "stop") return planCancelled(held, row, now, told.facts);
      if (told.kind !== "ok" && cause === "deadline") return planTimeout(held, row, now, told.facts);
      return planOutcome(held, row, told, now, ids.random);
    });
  }

  async #refused(held: HeldRun, step: StepRow, message: string): Promise<void> {
    const { changes, ids } = this.#options;
    const error = { code: "circuit_open", message, retryable: true, started: false };
    await changes.ofStep(held, step, (live, row, now) => planUnstarted(live, row, error, now, ids.random));
  }

  /** Counts one more attempt of a run that a rule started, or says why there may be none. */
  #limit(held: HeldRun, step: StepRow, nowMs: number): string | null {
    const { sideEffects } = this.#options;
    const { pipeline } = held.run;
    // What takes back, cleans up and tells goes on, but counts.
    const used =
      step.part === "steps" ? sideEffects.refusal(pipeline, held.definition.sideEffectsPerHour, nowMs) : null;
    if (used === null) sideEffects.count(pipeline, nowMs);
    return used;
  }

  async #limited(held: HeldRun, step: StepRow, message: string): Promise<void> {
    const { changes, counters } = this.#options;
    counters.limited++;
    const error = { code: "limited", message, retryable: false, started: false };
    await changes.ofStep(held, step, (live, row, now) =>
      live.run.state === "queued"
        ? planStop(live, { state: "skipped", by: "limits", reason: message }, now)
        : planUnstarted(live, row, error, now),
    );
  }
}

/** Throws `InputProblem`. */
export function callOf({ definition, compiled, context, inputContext }: Beginning): Call {
  const input = ofInput(() => compiled.input(inputContext));
  const { breaker } = definition;
  if (breaker === null) return { input, through: null };
  return {
    input,
    through: passage(
      breaker,
      ofInput(() => compiled.destination!(context)),
    ),
  };
}

/** By then the step may be tried again: that attempt is not this one's to forget. */
function forget(held: HeldRun, stepId: string, attempt: Attempt): void {
  if (held.attempts.get(stepId) === attempt) held.attempts.delete(stepId);
}
