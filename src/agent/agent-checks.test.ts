import { expect, test } from "bun:test";
import type { PartStatus } from "../model/agent-status.ts";
import { agentChecks, type CheckedFacts } from "./agent-checks.ts";

const WELL: CheckedFacts = {
  phase: "running",
  storeProblem: null,
  salvage: null,
  parts: [],
  sync: { state: "disabled", lastError: null } as CheckedFacts["sync"],
  runProblem: null,
  policyProblem: null,
};

function notWell(facts: Partial<CheckedFacts>): string[] {
  const checks = agentChecks({ ...WELL, ...facts });
  expect(checks.map(({ name }) => name)).toEqual(["start", "store", "workers", "sync", "runs", "policy"]);
  return checks.flatMap(({ name, state, reason }) => (state === "ok" ? [] : `${name} ${state}: ${reason}`));
}

test("all is well without a hub", () => {
  expect(notWell({})).toEqual([]);
});

test("each part that is not well says why", () => {
  const part = { kind: "trigger", name: "tail", state: "quarantined", reason: "5 crashes" } as PartStatus;
  expect(notWell({ phase: "draining" })).toEqual(["start failed: the agent is draining"]);
  expect(notWell({ storeProblem: "the disk is full" })).toEqual(["store failed: the disk is full"]);
  expect(notWell({ parts: [part, { ...part, state: "running" }] })).toEqual([
    "workers degraded: trigger tail is quarantined: 5 crashes",
  ]);
  expect(notWell({ sync: { ...WELL.sync, state: "offline", lastError: "refused" } })).toEqual([
    "sync degraded: refused",
  ]);
  expect(notWell({ runProblem: "circuit open", policyProblem: "no policy" })).toEqual([
    "runs degraded: circuit open",
    "policy degraded: no policy",
  ]);
});
