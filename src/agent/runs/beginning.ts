import { messageOf } from "../../core/errors.ts";
import type { ExpressionContext } from "../../model/expression.ts";
import type { StepDefinition } from "../../model/pipeline.ts";
import { definitionOf } from "../../model/run-step-definition.ts";
import type { StepRow } from "../../model/run.ts";
import type { HeldRun } from "./held-run.ts";
import type { CompiledStep, StepInputs } from "./step-input.ts";

/** A queued step that is about to begin, with what its expressions are evaluated on. */
export interface Beginning {
  held: HeldRun;
  step: StepRow;
  definition: StepDefinition;
  compiled: CompiledStep;
  context: () => ExpressionContext;
  /** For the input of an action: with places for secrets. */
  inputContext: () => ExpressionContext;
}

/** A problem of a step's input: nothing was done, and to try again would not help. */
export class InputProblem extends Error {}

export function beginningOf(held: HeldRun, step: StepRow, inputs: StepInputs): Beginning {
  return ofInput(() => {
    const definition = definitionOf(held.definition, step);
    const compiled = inputs.compiled(definition);
    const context = once(() => inputs.context(held, step, compiled));
    const inputContext = once(() => inputs.inputContext(context(), compiled, step));
    return { held, step, definition, compiled, context, inputContext };
  });
}

/** What expressions and inputs throw is a problem of the input. */
export function ofInput<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new InputProblem(messageOf(error), { cause: error });
  }
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}
