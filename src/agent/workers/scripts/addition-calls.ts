import { HoldfastError } from "../../../core/errors.ts";
import type { Json, JsonObject } from "../../../model/json.ts";
import type { Addition } from "../../../model/pipeline.ts";
import { parseLaterTime } from "../../../model/schedule-later.ts";
import { parseAdditions } from "../additions.ts";

/** Verbs of `holdfast call` by the kind of addition that they ask for. */
export const ADDITION_VERBS: Record<string, Addition["kind"]> = {
  add: "add",
  finally: "finally",
  "on-failure": "onFailure",
  spawn: "spawn",
  later: "later",
};

/** Answers `holdfast call add|finally|on-failure|spawn|later` of one call. Each answers when what it asks for is durable. */
export function additionCalls(
  add: (additions: Addition[]) => Promise<void>,
): Record<string, (args: JsonObject) => Promise<Json>> {
  const handlers = Object.entries(ADDITION_VERBS).map(([verb, kind]) => {
    const handle = async (args: JsonObject) => {
      const { name = null, pipeline = false, templates = false, with: input = {}, ...given } = args;
      const isTime = (key: string) => kind === "later" && (key === "in" || key === "at");
      const odd = Object.keys(given).find((key) => !isTime(key));
      if (odd !== undefined)
        throw new HoldfastError(
          "invalid",
          `call ${verb}: there is no argument ${JSON.stringify(odd.slice(0, 40))}`,
        );
      const due = kind === "later" ? { due: parseLaterTime(given) } : {};
      await add(parseAdditions([{ kind, action: name, pipeline, templates, with: input, ...due }]));
      return {};
    };
    return [verb, handle] as const;
  });
  return Object.fromEntries(handlers);
}
