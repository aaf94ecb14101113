import { HoldfastError } from "../../core/errors.ts";
import type { RunRow, StepRow } from "../../model/run.ts";
import type { HeldRun } from "./held-run.ts";
import { planDecision } from "./plan-waits.ts";
import type { RunChanges } from "./run-changes.ts";
import type { RunKeeper } from "./run-keeper.ts";

export interface Answer {
  approve: boolean;
  /** How it is recorded: `local:<uid>`. */
  by: string;
  uid: number;
  note: string;
}

interface Options {
  keeper: RunKeeper;
  changes: RunChanges;
  store: { run(id: string): Promise<{ run: RunRow } | null> };
  /** Of a local user; undefined when there is no such user. */
  uidOf: (name: string) => number | undefined;
}

/** What people say: yes or no to an approval, run it again or not of a step whose outcome is unknown. */
export class Approvals {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /** Resolves when the answer is durable. Throws `not_found`, `conflict` (nothing is asked), `denied`. */
  async decide(runId: string, stepId: string, answer: Answer): Promise<void> {
    const held = this.#options.keeper.runs.get(runId);
    const step = held?.steps.get(stepId);
    if (!held || !step) {
      throw new HoldfastError("not_found", `there is no open run ${runId} with a step ${stepId}`);
    }
    this.#mustAsk(held, step);
    if (step.waits === "approval") {
      const refusal = this.#refusal(step, answer, await this.#starter(held.run));
      if (refusal !== null) throw new HoldfastError("denied", `step ${stepId} of run ${runId}: ${refusal}`);
    }
    const { approve, by, note } = answer;
    const planned = await this.#options.changes.change(held, (now) => {
      const row = held.steps.get(stepId)!;
      this.#mustAsk(held, row);
      return planDecision(held, row, { approve, by, note }, now);
    });
    if (planned === null) throw new HoldfastError("conflict", `run ${runId} has ended meanwhile`);
  }

  #mustAsk(held: HeldRun, step: StepRow): void {
    if (isAsking(step)) return;
    throw new HoldfastError(
      "conflict",
      `step ${step.stepId} of run ${held.run.id} is ${step.state}: it does not ask for a decision`,
    );
  }

  #refusal({ extra }: StepRow, { approve, by, uid }: Answer, starter: string | null): string | null {
    const { approvers, strict } = extra!.approval!;
    const may = approvers.some(
      (approver) =>
        approver === "*" ||
        approver === `local:${uid}` ||
        (approver.startsWith("user:") && this.#options.uidOf(approver.slice(5)) === uid),
    );
    if (!may) return `${by} may not answer; approvers are ${approvers.join(", ")}`;
    if (strict && approve && starter === by) return `${by} started the run and may not approve it`;
    return null;
  }

  /** The person who set a run going, also through a run that it is a part of; null when it was a rule. */
  async #starter(run: RunRow): Promise<string | null> {
    const seen = new Set<string>();
    let row: RunRow | undefined = run;
    // Rows that were changed on the disk may lead back to themselves.
    while (row !== undefined && row.parent !== null && !seen.has(row.id)) {
      seen.add(row.id);
      const above: string = row.parent.run;
      row = this.#options.keeper.runs.get(above)?.run ?? (await this.#options.store.run(above))?.run;
    }
    return row === undefined || row.parent !== null || row.starter.kind === "rule" ? null : row.starter.by;
  }
}

export function isAsking(step: StepRow): boolean {
  return step.state === "waiting" && (step.waits === "approval" || step.waits === "decision");
}
