import { describe, expect, test } from "bun:test";
import { step } from "../testing/definitions.ts";
import { stepsOnCycles } from "./pipeline.ts";
import {
  type AttemptOutcome,
  decideStep,
  MAX_UNKNOWN_ATTEMPTS,
  mayMoveRun,
  mayMoveStep,
  STEP_PLACES,
  stepPlace,
} from "./run-transitions.ts";
import { hasEnded, RUN_STATES, type RunState } from "./run.ts";

describe("transitions", () => {
  test("nothing leaves an ended state", () => {
    for (const from of RUN_STATES.filter(hasEnded)) {
      for (const to of RUN_STATES) expect(mayMoveRun(from, to)).toBe(false);
      for (const to of STEP_PLACES) expect(mayMoveStep(from as never, to)).toBe(false);
    }
  });

  test("every place of a step is reached, and left unless it is an end", () => {
    for (const to of STEP_PLACES.filter((place) => place !== "waiting:needs")) {
      expect(STEP_PLACES.filter((from) => mayMoveStep(from, to))).not.toBeEmpty();
    }
    for (const from of STEP_PLACES.filter((place) => !hasEnded(place as RunState))) {
      expect(STEP_PLACES.filter((to) => mayMoveStep(from, to))).not.toBeEmpty();
    }
    expect(stepPlace({ state: "waiting", waits: "lock" })).toBe("waiting:lock");
  });

  test("only what has a lease can be uncertain, and only a person ends that of an `ask`", () => {
    expect(STEP_PLACES.filter((from) => mayMoveStep(from, "uncertain"))).toEqual([
      "waiting:decision",
      "running",
    ]);
    expect(STEP_PLACES.filter((to) => mayMoveStep("waiting:decision", to))).toEqual(["queued", "uncertain"]);
  });
});

describe("what an outcome means", () => {
  const half = () => 0.5;
  const told = (retryable: boolean, started: boolean): AttemptOutcome => ({
    kind: "error",
    error: { code: "failed", message: "no", retryable, started },
  });
  const lost = (code = "crashed"): AttemptOutcome => ({
    kind: "unknown",
    error: { code, message: "gone", retryable: true, started: true },
  });
  const retry = (attempts: number) => ({ attempts, kind: "fixed" as const, initialMs: 100, maxMs: 1000 });
  const cases: [
    name: string,
    effect: "idempotent" | "at-most-once" | "ask",
    attempts: number,
    at: { attempts: number; unknowns: number },
    outcome: AttemptOutcome,
    state: RunState,
  ][] = [
    ["success", "ask", 1, { attempts: 1, unknowns: 0 }, { kind: "ok", output: 1 }, "succeeded"],
    ["not retryable", "idempotent", 3, { attempts: 1, unknowns: 0 }, told(false, true), "failed"],
    ["retryable", "idempotent", 3, { attempts: 2, unknowns: 0 }, told(true, true), "queued"],
    ["retryable, used up", "idempotent", 3, { attempts: 3, unknowns: 0 }, told(true, true), "dead"],
    ["retryable, one try", "idempotent", 1, { attempts: 1, unknowns: 0 }, told(true, true), "failed"],
    ["unknown ones do not count", "idempotent", 3, { attempts: 4, unknowns: 2 }, told(true, true), "queued"],
    ["started", "at-most-once", 3, { attempts: 1, unknowns: 0 }, told(true, true), "failed"],
    ["not started", "at-most-once", 3, { attempts: 1, unknowns: 0 }, told(true, false), "queued"],
    ["not started, used up", "ask", 2, { attempts: 2, unknowns: 0 }, told(true, false), "dead"],
    ["lost", "at-most-once", 3, { attempts: 1, unknowns: 0 }, lost(), "uncertain"],
    ["lost", "ask", 3, { attempts: 1, unknowns: 0 }, lost(), "waiting"],
    ["lost", "idempotent", 1, { attempts: 1, unknowns: 0 }, lost(), "queued"],
    [
      "lost too often",
      "idempotent",
      1,
      { attempts: MAX_UNKNOWN_ATTEMPTS, unknowns: MAX_UNKNOWN_ATTEMPTS - 1 },
      lost(),
      "uncertain",
    ],
    [
      "out of time too often",
      "idempotent",
      1,
      { attempts: MAX_UNKNOWN_ATTEMPTS, unknowns: MAX_UNKNOWN_ATTEMPTS - 1 },
      lost("timed_out"),
      "timed_out",
    ],
  ];
  test.each(cases)("%s: %s, %i attempts, %j", (_name, effect, attempts, at, outcome, state) => {
    const decision = decideStep(step("a", { effect, retry: retry(attempts) }), at, outcome, half);
    expect(decision.state).toBe(state);
    expect(decision.delayMs).toBe(state === "queued" ? 100 : 0);
    const attempt = { ok: "succeeded", error: "failed", unknown: "unknown" } as const;
    expect(decision.attempt).toBe(attempt[outcome.kind]);
  });
});

test("cycles are found, and what only hangs on them too", () => {
  const on = (id: string, ...needs: string[]) => ({ id, needs });
  expect(stepsOnCycles([on("a", "b"), on("b", "a"), on("c"), on("d", "a")])).toEqual(["a", "b", "d"]);
  expect(stepsOnCycles([on("a"), on("b", "a")])).toEqual([]);
});
