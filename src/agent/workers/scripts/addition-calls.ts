import { HoldfastError } from "../../../core/errors.ts";
import type { Json, JsonObject } from "../../../model/json.ts";
import type { Addition } from "../../../model/pipeline.ts";
import { parseAdditions } from "../additions.ts";

/** Verbs of `holdfast call` by the kind of addition that they ask for. */
export const ADDITION_VERBS: Record<string, Addition["kind"]> = {
  add: "add",
  finally: "finally",
  "on-failure": "onFailure",
  spawn: "spawn",
};

/** Answers `holdfast call add|finally|on-failure|spawn` of one call. Each answers when what it asks for is durable. */
export function additionCalls(
  add: (additions: Addition[]) => Promise<void>,
): Record<string, (args: JsonObject) => Promise<Json>> {
  const handlers = Object.entries(ADDITION_VERBS).map(([verb, kind]) => {
    const handle = async (args: JsonObject) => {
      const { name = null, pipeline = false, templates = false, with: input = {}, ...rest } = args;
      const odd = Object.keys(rest)[0];
      if (odd !== undefined)
        throw new HoldfastError(
          "invalid",
          `call ${verb}: there is no argument ${JSON.stringify(odd.slice(0, 40))}`,
        );
      await add(parseAdditions([{ kind, action: name, pipeline, templates, with: input }]));
      return {};
    };
    return [verb, handle] as const;
  });
  return Object.fromEntries(handlers);
}
