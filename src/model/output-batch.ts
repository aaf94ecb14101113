import type { Json } from "./json.ts";

/** Under this name the outputs emit events of their own. */
export const OUTPUTS_TRIGGER = "outputs";
/** Largest batch in bytes: it must fit into one frame to the worker, with room for escapes. */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024;
/** Fewer than the store keeps for outputs at most, so that an output lets go, and counts, before the store must. */
export const MAX_BACKLOG = 900_000;

/** An event that its destination will never take; `index` is its place in the batch. */
export interface RejectedEvent {
  index: number;
  reason: string;
}

/** How far a batch came that was not taken as a whole. */
export interface PartialTaking {
  /** Events from the front of the batch that are dealt with. */
  taken: number;
  /** Of all its events those that are refused for good, also behind `taken`. */
  rejected: RejectedEvent[];
}

/** Why a batch was not taken as a whole. */
export interface BatchProblem extends PartialTaking {
  message: string;
  code: string;
  retryable: boolean;
}

export interface BatchOutcome extends PartialTaking {
  /**
   * `go_on`: at once with what is left. `wait`: the destination is to be left alone for a while. `split`: one of these
   * events is refused for good, and smaller batches will show which.
   */
  next: "go_on" | "wait" | "split";
}

const MAX_REASON = 1024;

/** What follows from a write of `size` events; null is success. */
export function batchOutcome(size: number, problem: BatchProblem | null): BatchOutcome {
  if (problem === null) return { taken: size, rejected: [], next: "go_on" };
  const taken = Math.min(Math.max(0, problem.taken), size);
  const rejected = problem.rejected.filter(
    ({ index }, at, all) =>
      index >= 0 && index < size && all.findIndex((other) => other.index === index) === at,
  );
  if (taken > 0 || rejected.length > 0) {
    const left = size - taken - rejected.filter(({ index }) => index >= taken).length;
    return { taken, rejected, next: left > 0 && problem.retryable ? "wait" : "go_on" };
  }
  // A denial is about the output's rights, not about an event: somebody may grant them.
  if (problem.retryable || problem.code === "denied") return { taken, rejected, next: "wait" };
  if (size > 1) return { taken, rejected, next: "split" };
  return { taken: 1, rejected: [{ index: 0, reason: problem.message.slice(0, MAX_REASON) }], next: "go_on" };
}

/** `{ taken, rejected }` as a plugin or a script tells it; undefined when it tells none, or something else. */
export function parsePartial(value: Json | undefined): PartialTaking | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const { taken = 0, rejected = [] } = value;
  if (!isPlace(taken) || !Array.isArray(rejected)) return undefined;
  const parsed: RejectedEvent[] = [];
  for (const each of rejected) {
    if (typeof each !== "object" || each === null || Array.isArray(each) || !isPlace(each.index))
      return undefined;
    const reason = typeof each.reason === "string" && each.reason !== "" ? each.reason : "no reason given";
    parsed.push({ index: each.index, reason: reason.slice(0, MAX_REASON) });
  }
  return { taken, rejected: parsed };
}

function isPlace(value: Json | undefined): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
