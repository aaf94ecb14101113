import { systemIds } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import type { CloudEvent } from "../model/event.ts";
import type { Json } from "../model/json.ts";
import type { PipelineDefinition } from "../model/pipeline.ts";
import { hasEnded, type Starter } from "../model/run.ts";
import type { AttemptOutcome } from "../model/run-transitions.ts";
import { RunEngine } from "../agent/runs/engine.ts";
import type { EngineOptions } from "../agent/runs/engine-options.ts";
import type { ActionCall, RunStorePort } from "../agent/runs/ports.ts";
import { MemoryRunStore } from "./memory-run-store.ts";
import { settled, VirtualClock } from "./virtual-clock.ts";

export type Act = (call: ActionCall, signal: AbortSignal) => AttemptOutcome | Promise<AttemptOutcome>;

export const AN_EVENT: CloudEvent = {
  specversion: "1.0",
  id: "1",
  source: "s",
  type: "t",
  time: "2026-01-01T00:00:00Z",
  data: { n: 7 },
};

export const BY_RULE: Starter = { kind: "rule", by: "rule" };

export const ok = (output: Json = "done"): AttemptOutcome => ({ kind: "ok", output });
export const failed = (started: boolean, retryable = true, code = "failed"): AttemptOutcome => ({
  kind: "error",
  error: { code, message: "no", retryable, started },
});
export const unknown = (code = "crashed"): AttemptOutcome => ({
  kind: "unknown",
  error: { code, message: "worker died", retryable: true, started: true },
});

type RigOptions = Partial<Omit<EngineOptions, "store" | "clock">> & {
  store?: MemoryRunStore;
  clock?: VirtualClock;
  /** No run comes into being with its first lease. */
  longWay?: boolean;
};

/** A run engine on manual time over a store in memory; `act` is what actions do. */
export function runRig(
  configured: PipelineDefinition | PipelineDefinition[],
  act: Act,
  options: RigOptions = {},
) {
  const pipelines = [configured].flat();
  const store = options.store ?? new MemoryRunStore();
  const clock = options.clock ?? new VirtualClock();
  const { longWay = false } = options;
  const calls: ActionCall[] = [];
  let crashed = false;
  const engine = new RunEngine({
    actions: {
      invoke: async (call, signal) => {
        calls.push(call);
        return await act(call, signal);
      },
    },
    pipelines: new Map(pipelines.map((pipeline) => [pipeline.name, pipeline])),
    agent: { id: "web-01", labels: {} },
    effectOf: () => "at-most-once",
    uidOf: (name) => ({ alice: 1000, bob: 1001 })[name],
    ids: systemIds(),
    log: silentLogger(),
    maxSteps: 64,
    maxOutputBytes: 1000,
    maxOpenRuns: 10_000,
    maxSideEffects: 1_000_000,
    ...options,
    store: untilCrash(store, () => crashed),
    clock,
  });
  /** Starts a run as a rule does, and gives its id. */
  const start = (
    params: Json = {},
    pipeline = pipelines[0]!.name,
    starter: Starter = BY_RULE,
    priority?: number,
  ) => {
    const made = engine.build({
      pipeline,
      starter,
      event: AN_EVENT,
      params,
      ...(priority === undefined ? {} : { priority }),
    });
    const kept = longWay ? made : engine.lease(made);
    store.keep(kept, AN_EVENT);
    engine.admit([kept]);
    return made.run.id;
  };
  /** Lets time run until the condition holds. */
  const until = async (what: string, condition: () => boolean) => {
    for (;;) {
      await settled();
      if (condition()) return;
      if (!clock.runNext()) throw new Error(`nothing will happen any more, waited for: ${what}`);
    }
  };
  const ended = async (id: string) => {
    await until(`the end of run ${id}`, () => hasEnded(store.runs.get(id)!.run.state));
    return store.runs.get(id)!;
  };
  /** `step` or `step state`, in the order of the rows. */
  const states = (id: string) => store.runs.get(id)!.steps.map((row) => `${row.stepId} ${row.state}`);
  /** From here on the engine is as good as dead: nothing that it writes gets through. */
  const crash = () => void (crashed = true);
  return {
    engine,
    crash,
    store,
    clock,
    calls,
    start,
    until,
    ended,
    states,
    called: () => calls.map((call) => call.step),
  };
}

function untilCrash(store: MemoryRunStore, crashed: () => boolean): RunStorePort {
  return new Proxy(store, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      return (...given: unknown[]): unknown =>
        crashed() ? new Promise(() => {}) : member.apply(target, given);
    },
  });
}
