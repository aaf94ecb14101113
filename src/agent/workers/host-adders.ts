import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { JsonObject } from "../../model/json.ts";
import type { Addition } from "../../model/pipeline.ts";
import { type LaterDue, type LaterTime, parseLaterTime } from "../../model/schedule-later.ts";
import { ActionError, type AddOptions, type StepAdders } from "../../sdk/holdfast.ts";
import { parseAdditions } from "./additions.ts";

/** What a call may ask for while it runs. What is no step is refused here, with a stack that shows where it came from. */
export function addersOf(send: (additions: Addition[]) => Promise<void>): StepAdders {
  const ask =
    (kind: Addition["kind"], pipeline = false) =>
    async (action: string, input: JsonObject = {}, { templates = false }: AddOptions = {}) =>
      await send(checked({ kind, action, pipeline, with: input, ...(templates ? { templates } : {}) }));
  return {
    add: ask("add"),
    addPipeline: ask("add", true),
    finally: ask("finally"),
    onFailure: ask("onFailure"),
    spawn: ask("spawn", true),
    later: async (action, input, when) =>
      await send(checked({ kind: "later", action, pipeline: true, with: input, due: dueOf(when) })),
  };
}

function dueOf(when: LaterTime): LaterDue {
  try {
    return parseLaterTime(when);
  } catch (error) {
    throw new ActionError(messageOf(error), { code: "invalid", retryable: false });
  }
}

function checked(addition: Addition): Addition[] {
  try {
    return parseAdditions([addition]);
  } catch (error) {
    const code = error instanceof HoldfastError ? error.code : "invalid";
    throw new ActionError(messageOf(error), { code, retryable: false });
  }
}
