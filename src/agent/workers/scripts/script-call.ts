import type { Clock } from "../../../core/clock.ts";
import { attemptEnd } from "../../../model/attempt-facts.ts";
import type { JsonObject } from "../../../model/json.ts";
import type { AttemptOutcome } from "../../../model/run-transitions.ts";
import type { WorkerCall } from "../action-worker.ts";
import { type Cut, notStarted, unknown } from "../call-outcome.ts";
import type { LinesWorker } from "./lines-worker.ts";
import { CallOutput, onceOutcome } from "./once-call.ts";
import type { ScriptPorts } from "./ports.ts";
import { RunningScript, type ScriptStart } from "./running-script.ts";

export interface CallFrame {
  /** Of the action, for messages. */
  name: string;
  /** With the time that is left as its time-out. */
  call: WorkerCall;
  /** What is said when that is over. */
  why: string;
  signal: AbortSignal;
  /** The agent does not wait any longer. */
  stopped: AbortSignal;
  clock: Clock;
  /** From the polite request to end to the one that cannot be refused. */
  cancelMs: number;
}

export interface CallEnd {
  outcome: AttemptOutcome;
  /** Why this end counts towards quarantine. */
  crash?: string;
}

/** One process for one call. Rejects when it could not be started. */
export async function callOnce(
  start: Omit<
    ScriptStart,
    "settings" | "held" | "call" | "mark" | "add" | "namespace" | "budget" | "consume"
  >,
  frame: CallFrame,
  ports: ScriptPorts,
): Promise<CallEnd> {
  const { call, name } = frame;
  const output = new CallOutput();
  const running = await RunningScript.start(
    {
      ...start,
      settings: call.input,
      held: call.held,
      call: variables(call),
      mark: { run: call.run, step: call.step, attempt: call.attempt },
      ...(start.script.calls ? { add: call.add } : {}),
      namespace: call.namespace,
      budget: "call",
      consume: output.consume,
    },
    ports,
  );
  running.write(`${JSON.stringify(call.input)}\n`);
  running.closeStdin();
  const cuts = watchCuts(frame, {
    ask: () => running.terminate(),
    kill: (reason) => running.kill("time", reason),
  });
  const end = await running.ended;
  cuts.over();
  call.ended?.(attemptEnd(end.verdict, end));
  const outcome = onceOutcome(name, end, output, cuts.cut());
  if (outcome.kind !== "ok") running.tell(output.text());
  // Its own exit code is an answer; an end by a signal, by a limit or against its will is none.
  const failed = end.code === null || end.killed !== undefined;
  const polite = cuts.cut() !== undefined && !cuts.killed();
  return failed && !polite ? { outcome, crash: end.reason } : { outcome };
}

/** One request to a process that stays. */
export async function callLines(worker: LinesWorker, frame: CallFrame): Promise<CallEnd> {
  const { call, name } = frame;
  if (!worker.reads) return { outcome: notStarted("busy", `${name} does not read its requests`) };
  const { input, key, run, step, attempt, timeoutMs } = call;
  const request = { input, key, run, step, attempt, timeout_ms: timeoutMs };
  const { id, done } = worker.request("call", request as unknown as JsonObject);
  const cuts = watchCuts(frame, {
    ask: () => worker.cancel(id),
    // Settled by its end: while anything of it runs, a next attempt would run beside it.
    kill: (reason) => worker.kill(reason),
  });
  const end = await done;
  cuts.over();
  worker.forget(id);
  const cut = cuts.cut();
  if ("end" in end) {
    call.ended?.(attemptEnd(end.end.verdict, end.end));
    if (cut) return { outcome: unknown(cut.code, `${name}: ${cut.message}`) };
    const { killed, verdict, reason } = end.end;
    const code = killed ?? (verdict.cause === "exited" ? "crashed" : verdict.cause);
    return { outcome: unknown(code, `${name}: its script ended: ${reason}`) };
  }
  const { answer } = end;
  if ("data" in answer) return { outcome: { kind: "ok", output: answer.data } };
  const { error } = answer;
  if (cut && error.started)
    return { outcome: unknown(cut.code, `${name}: ${cut.message}: ${error.message}`) };
  return { outcome: { kind: "error", error } };
}

function variables(call: WorkerCall): Record<string, string | number> {
  const { key, run, step, attempt, timeoutMs } = call;
  return { KEY: key, RUN: run, STEP: step, ATTEMPT: attempt, TIMEOUT_MS: timeoutMs };
}

/** Ends a call that takes too long or is not wanted any more: first asked to, then taken away. */
function watchCuts(frame: CallFrame, means: { ask(): void; kill(reason: string): void }) {
  const { clock, call, why, signal, stopped, cancelMs } = frame;
  let cut: Cut | undefined;
  let killed = false;
  let cancelKill = () => {};
  const begin = (next: Cut) => {
    if (cut) return;
    cut = next;
    means.ask();
    cancelKill = clock.after(cancelMs, () => {
      killed = true;
      means.kill(cut!.code === "timed_out" ? `time: ${why}` : "it was cancelled and did not end");
    });
  };
  const onAbort = () => begin({ code: "cancelled", message: "the call was cancelled" });
  const cancelTimeout = clock.after(call.timeoutMs, () => begin({ code: "timed_out", message: why }));
  for (const each of [signal, stopped]) {
    each.addEventListener("abort", onAbort, { once: true });
    if (each.aborted) onAbort();
  }
  return {
    cut: () => cut,
    killed: () => killed,
    over() {
      cancelTimeout();
      cancelKill();
      for (const each of [signal, stopped]) each.removeEventListener("abort", onAbort);
    },
  };
}
