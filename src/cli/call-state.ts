import { isDuration, parseDuration } from "../core/duration.ts";
import { HoldfastError } from "../core/errors.ts";
import type { JsonObject } from "../model/json.ts";
import { givenValue } from "./given-value.ts";

export interface StateFlags {
  every?: string | undefined;
  force?: boolean | undefined;
  text?: boolean | undefined;
}

/** `holdfast call state …` as a request. What it asks for is checked by the agent. */
export function stateArguments([op = "", ...words]: string[], flags: StateFlags): JsonObject {
  if (op === "load" && words.length === 0) return { op };
  if (op !== "save" || words.length !== 1)
    throw usage("state load, or state save VALUE [--every 1m] [--force]");
  const { every, force = false, text = false } = flags;
  if (every !== undefined && !isDuration(every))
    throw usage(`--every must be a duration, like 1m, not "${every}"`);
  const interval: JsonObject = every === undefined ? {} : { everyMs: parseDuration(every) };
  return { op, value: givenValue(words[0]!, text), force, ...interval };
}

function usage(message: string): HoldfastError {
  return new HoldfastError("usage", `holdfast call: ${message}`);
}
