import type { Clock } from "../../core/clock.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import type { WorkerEnd } from "./worker.ts";

/** Why a call is to end before its answer. */
export interface Cut {
  code: "timed_out" | "cancelled";
  message: string;
}

class CutError extends Error {
  readonly cut: Cut;

  constructor(cut: Cut) {
    super(cut.message);
    this.cut = cut;
  }
}

/** The cut that made `within` give up; undefined for any other error. */
export function cutOf(error: unknown): Cut | undefined {
  return error instanceof CutError ? error.cut : undefined;
}

/** The plugin was never told: such a step may run again whatever its effect. */
export function notStarted(code: string, message: string, retryable = true): AttemptOutcome {
  return { kind: "error", error: { code, message, retryable, started: false } };
}

/** The plugin was told and no result came back. */
export function unknown(code: string, message: string): AttemptOutcome {
  return { kind: "unknown", error: { code, message, retryable: true, started: true } };
}

/** The outcome of a call whose worker is gone: what ended it, and the most it had used. */
export function diedDuring({ reason, verdict }: WorkerEnd): AttemptOutcome {
  const { cause, peak } = verdict;
  const code = cause === "exited" ? "crashed" : cause;
  const used = `peak ${Math.round(peak.memoryBytes / 1024 ** 2)} MB, ${Math.round(peak.cpuMs)} ms of processor time`;
  const text = reason.startsWith("the worker died") ? reason : `the worker died: ${reason}`;
  return unknown(code, `${text} (${used})`);
}

/** Waits for `work`, but no longer than `ms`, and only until the signal aborts; both give a cut. */
export async function within<T>(work: Promise<T>, ms: number, signal: AbortSignal, clock: Clock): Promise<T> {
  // When it is given up here its own failure is nobody's to handle.
  work.catch(() => {});
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(new CutError({ code: "cancelled", message: "the call was cancelled" }));
  const cancel = clock.after(ms, () =>
    reject(new CutError({ code: "timed_out", message: `${ms} ms were over` })),
  );
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, work]);
  } finally {
    cancel();
    signal.removeEventListener("abort", onAbort);
  }
}
