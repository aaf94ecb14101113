import type { ActionCall, ActionPort } from "../../agent/runs/ports.ts";
import type { Addition } from "../../model/pipeline.ts";
import type { AttemptOutcome } from "../../model/run-transitions.ts";
import { Seeded } from "../seeded.ts";
import type { Incarnation } from "./incarnation.ts";
import { laterDue } from "./schedule-grammar.ts";
import { KEYS } from "./names.ts";
import type { Told, WorkLedger } from "./work-ledger.ts";

export type Manner = "does" | "adds" | "refuses" | "fails" | "gives-up" | "dies" | "hangs";

export interface WorkerOptions {
  random: Seeded;
  ledger: WorkLedger;
  pipelines: string[];
  /** What they do more often than others would. */
  prefer: Manner | null;
  /** Workers behave: what is left is to come to its end. */
  calm: () => boolean;
  /** Looks at a call before anything is done. */
  called: (call: ActionCall) => void;
  say: (line: string) => void;
}

const DELAYS = [0, 0, 5, 200, 3_000, 15_000];

/** The workers of one life of the agent: some do what they should, others refuse, fail, die, hang, or add steps. */
export class SimulatedWorkers implements ActionPort {
  readonly #options: WorkerOptions;
  readonly #life: Incarnation;

  constructor(options: WorkerOptions, life: Incarnation) {
    this.#options = options;
    this.#life = life;
  }

  invoke(call: ActionCall, signal: AbortSignal): Promise<AttemptOutcome> {
    const { promise, resolve } = Promise.withResolvers<AttemptOutcome>();
    // What a dead process does is not seen by anybody.
    if (this.#life.dead) return promise;
    const { random, ledger, called, say } = this.#options;
    called(call);
    const manner = this.#manner(call.key);
    const execution = ledger.begin(call, manner !== "refuses");
    say(`${call.step} of ${call.run}, attempt ${call.attempt}: ${manner}`);
    const finish = (told: Told, outcome: AttemptOutcome) => {
      if (this.#life.dead || !execution.running) return;
      cancelTimeout();
      ledger.end(execution, told);
      resolve(outcome);
    };
    const cancelTimeout = this.#life.after(call.timeoutMs, () => {
      finish("unknown", unknown("timed_out", `no result within ${call.timeoutMs} ms`));
    });
    const onAbort = () => {
      const quick = random.chance(0.15);
      this.#life.after(random.int(0, 400), () => {
        if (quick) finish("ok", { kind: "ok", output: { done: call.step } });
        else finish("unknown", unknown("cancelled", "it was stopped"));
      });
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    this.#life.after(this.#delay(), () => {
      if (execution.running) void this.#act(manner, call, finish);
    });
    return promise;
  }

  async #act(
    manner: Manner,
    call: ActionCall,
    finish: (told: Told, outcome: AttemptOutcome) => void,
  ): Promise<void> {
    switch (manner) {
      case "adds":
        this.#options.ledger.adders.add(call.key);
        // What it may not add it does without.
        await call.add(this.#additions(call.key)).catch(() => {});
        // The next attempt asks anew.
        if (call.attempt === 1 && this.#options.random.chance(0.5)) return finish("error", error(true, true));
        return finish("ok", { kind: "ok", output: { done: call.step } });
      case "does":
        return finish("ok", { kind: "ok", output: { done: call.step } });
      case "refuses":
        return finish("refused", error(true, false));
      case "fails":
        return finish("error", error(true, true));
      case "gives-up":
        return finish("error", error(false, true));
      case "dies":
        return finish("unknown", unknown("crashed", "the worker died"));
      case "hangs":
        return;
    }
  }

  #manner(key: string): Manner {
    const { random, calm, prefer, ledger } = this.#options;
    // Who has asked for more asks again when it runs again.
    if (ledger.adders.has(key) && random.chance(0.7)) return "adds";
    if (calm()) return random.chance(0.9) ? "does" : "refuses";
    if (prefer !== null && random.chance(0.4)) return prefer;
    const drawn = random.next();
    if (drawn < 0.57) return "does";
    if (drawn < 0.68) return "adds";
    if (drawn < 0.76) return "refuses";
    if (drawn < 0.83) return "fails";
    if (drawn < 0.89) return "gives-up";
    return drawn < 0.95 ? "dies" : "hangs";
  }

  #delay(): number {
    const { random, calm } = this.#options;
    return calm() ? 5 : random.pick(DELAYS);
  }

  /** The same in each attempt, as what is computed from the same input is. */
  #additions(key: string): Addition[] {
    const { pipelines } = this.#options;
    const random = new Seeded(Number(Bun.hash(key) & 0xffff_ffffn));
    return Array.from({ length: random.int(1, 3) }, (): Addition => {
      const kind = random.pick(["add", "add", "finally", "onFailure", "spawn", "later"] as const);
      // Only the last pipeline, which has no parts: runs must not multiply without end.
      const isPipeline = kind === "spawn" || kind === "later" || random.chance(0.1);
      const params = { k: random.pick(KEYS), v: random.int(0, 9) };
      const due = kind === "later" ? { due: laterDue(random) } : {};
      return {
        ...due,
        kind,
        action: isPipeline ? pipelines.at(-1)! : "work",
        pipeline: isPipeline,
        with: params,
      };
    });
  }
}

function error(retryable: boolean, started: boolean): AttemptOutcome {
  const message = started ? "it went wrong" : "it is not ready";
  return { kind: "error", error: { code: "failed", message, retryable, started } };
}

function unknown(code: string, message: string): AttemptOutcome {
  return { kind: "unknown", error: { code, message, retryable: true, started: true } };
}
