import { HoldfastError } from "../core/errors.ts";
import { agentCommand } from "./agent-command.ts";
import { shownRun } from "./runs-detail.ts";

export const RUN_ARG = {
  type: "positional",
  required: true,
  description: "Id of the run, or at least 4 characters of its end (or beginning)",
} as const;

export const cancel = agentCommand({
  name: "cancel",
  description: "End a run: its steps under way are stopped, its finally steps run",
  example: "holdfast runs cancel 3f9a12bc --reason 'wrong host'",
  args: {
    run: RUN_ARG,
    reason: { type: "string", valueHint: "TEXT", description: "Why; it is kept with the run" },
  },
  async run({ client, out, json }, args) {
    const run = await client.cancel(args.run, args.reason ?? "");
    await out.line(json ? JSON.stringify({ run }) : `Run ${run} is being cancelled.`);
  },
});

export const retry = agentCommand({
  name: "retry",
  description: "Start a run like one that has ended, with the same parameters and event",
  example: "holdfast runs retry 3f9a12bc",
  args: { run: RUN_ARG },
  async run({ client, out, json }, args) {
    const made = await client.retry(args.run);
    await out.line(json ? JSON.stringify(made) : `Run ${made.run} repeats run ${made.retryOf}.`);
  },
});

/** A person's word on a step that waits for approval, or with `effect: ask` whose outcome is unknown. */
function decision(name: "approve" | "deny", what: string) {
  return agentCommand({
    name,
    description: what,
    example: `holdfast runs ${name} 3f9a12bc --step restart --note 'seen, go on'`,
    args: {
      run: RUN_ARG,
      step: { type: "string", valueHint: "ID", description: "Step that waits; not needed where one does" },
      note: { type: "string", valueHint: "TEXT", description: "Why; it is kept with the step" },
    },
    async run({ client, out, json }, args) {
      const run = shownRun(await client.run(args.run));
      const asking = run.steps.filter((step) => step.waits === "approval" || step.waits === "decision");
      const step =
        args.step ??
        theOnly(
          run.id,
          asking.map((each) => each.step),
        );
      await client.decide(run.id, step, name, args.note ?? "");
      if (json) return out.line(JSON.stringify({ run: run.id, step, decision: name }));
      const approval = asking.some((each) => each.step === step && each.waits === "approval");
      await out.line(consequence(name, step, approval));
    },
  });
}

function theOnly(run: string, asking: string[]): string {
  const [only] = asking;
  if (asking.length === 1 && only !== undefined) return only;
  if (asking.length === 0) {
    throw new HoldfastError(
      "conflict",
      `no step of run ${run} waits for a person: see holdfast runs show ${run}`,
    );
  }
  throw new HoldfastError(
    "usage",
    `${asking.length} steps of run ${run} wait for a person: say which with --step (${asking.join(", ")})`,
  );
}

function consequence(name: "approve" | "deny", step: string, approval: boolean): string {
  if (approval) return name === "approve" ? `Step ${step} is approved.` : `Step ${step} is denied.`;
  return name === "approve" ? `Step ${step} runs again.` : `Step ${step} is left uncertain.`;
}

export const approve = decision(
  "approve",
  "Say yes to a step that waits for approval, or let one whose outcome is unknown run again",
);
export const deny = decision(
  "deny",
  "Say no to a step that waits for approval, or leave one whose outcome is unknown as uncertain",
);
