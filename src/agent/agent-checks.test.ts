import { expect, test } from "bun:test";
import type { OutputDelivery, PartStatus } from "../model/agent-status.ts";
import { agentChecks, type CheckedFacts } from "./agent-checks.ts";
import type { HubLossStatus } from "./sync/sync-status.ts";

const WELL: CheckedFacts = {
  phase: "running",
  storeProblem: null,
  salvage: null,
  parts: [],
  sync: { state: "disabled", lastError: null, hubLost: [] as HubLossStatus[] } as CheckedFacts["sync"],
  rules: [],
  runProblem: null,
  policyProblem: null,
  secretProblem: null,
  clockBehindMs: 0,
  brake: null,
  outboxProblem: null,
};

function notWell(facts: Partial<CheckedFacts>): string[] {
  const checks = agentChecks({ ...WELL, ...facts });
  expect(checks.map(({ name }) => name)).toEqual([
    "start",
    "store",
    "workers",
    "outputs",
    "sync",
    "outbox",
    "rules",
    "runs",
    "policy",
    "secrets",
    "clock",
    "brake",
  ]);
  return checks.flatMap(({ name, state, reason }) => (state === "ok" ? [] : `${name} ${state}: ${reason}`));
}

test("all is well without a hub", () => {
  expect(notWell({})).toEqual([]);
});

test("rules that cannot do anything are named, one that failed now and then is not", () => {
  const rule = (name: string, matched: number, errors: number, broken: string | null = null) => ({
    name,
    broken,
    counters: { matched, errors, lastError: "no such overload" },
  });
  expect(notWell({ rules: [rule("fine", 0, 0), rule("odd", 9, 5), rule("young", 0, 2)] })).toEqual([]);
  expect(notWell({ rules: [rule("bad", 0, 3), rule("worse", 0, 0, "Unexpected token")] })).toEqual([
    "rules degraded: rule bad has never matched and failed 3 times: no such overload; rule worse does not run: Unexpected token: holdfast rules list",
  ]);
  const many = Array.from({ length: 5 }, (_, index) => rule(`r${index}`, 0, 3));
  expect(notWell({ rules: many })[0]).toContain("; and 2 more: holdfast rules list");
});

test("an output says what it lost of late, and what waits for a destination that fails", () => {
  const output = (more: Partial<OutputDelivery>): PartStatus => ({
    ...{ name: "archive", plugin: "file", kind: "output", state: "running", restarts: 0 },
    delivery: {
      ...{ behind: 0, circuit: "closed", failures: 0, rejected: 2, lost: {}, recentLoss: false },
      ...more,
    },
  });
  const lost = { none: 3, error: 4 };
  expect(
    notWell({ parts: [output({}), output({ failures: 2, lastError: "down" }), output({ lost })] }),
  ).toEqual([]);
  expect(notWell({ parts: [output({ lost, recentLoss: true })] })).toEqual([
    "outputs degraded: output archive was too far behind: 7 events do not reach it",
  ]);
  expect(
    notWell({ parts: [output({ circuit: "open", failures: 9, lastError: "no route", behind: 70 })] }),
  ).toEqual(["outputs degraded: output archive failed 9 times in a row (no route); 70 events wait"]);
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
  const lost = { lane: "events", held: 3, hub: "h", epoch: "e", segment: 1, number: 7, key: "4f", atMs: 1 };
  expect(notWell({ sync: { ...WELL.sync, state: "online", hubLost: [lost] } })[0]).toStartWith(
    "sync degraded: the hub lost rows it had acknowledged: rows 4 to 7 of lane events",
  );
  const problems = { runProblem: "circuit open", policyProblem: "no policy", secretProblem: "no key" };
  expect(notWell({ brake: "held back" })).toEqual(["brake degraded: held back"]);
  expect(notWell(problems)).toEqual([
    "runs degraded: circuit open",
    "policy degraded: no policy",
    "secrets degraded: no key",
  ]);
});
