/** Every labelled write of the store fails once or dies once, before and after: nothing is lost, doubled or half done. */
import { afterEach, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemIds } from "../../core/ids.ts";
import { LANES } from "../../model/record.ts";
import type { FindingRow, RuleChanges } from "../../model/rule.ts";
import type { DeadLetter, RunRow } from "../../model/run.ts";
import type { LaterRun } from "../../model/schedule-later.ts";
import { noCounts, type Silence } from "../../model/silence.ts";
import type { Fault } from "../../storage/faults.ts";
import { type InProcessStore, openInProcessStore } from "../../testing/in-process-store.ts";
import type { RunChange } from "./port.ts";
import { keep, commitOf, readLane, runRecordOf, sent, startOf, stepOf } from "./store-fixtures.ts";

setDefaultTimeout(120_000);

/** What dies here is never the host: hundreds of stores need not wait for a disk. */
const MEMORY = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
const RETENTION = {
  ...{ sent: { ...sent(2), ends: 0 }, heldForOutputs: 3, events: keep(3), runs: keep(1) },
  ...{ deadLetters: keep(1), findings: keep(1) },
};

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(MEMORY, "holdfast-writes-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const HOUR_MS = 3_600_000;
/** Trusted time, by which history goes; it is set back once, as by a hub that knows better. */
let trustedMs = HOUR_MS;

/** One thing that is done to a store, and how one sees that it was done. */
interface Step {
  act(store: InProcessStore): Promise<unknown>;
  done(store: InProcessStore): Promise<boolean>;
}

const finding: FindingRow = {
  ...{ id: "f-0", rule: "r", key: "k", severity: "error", title: "t", data: 1, state: "resolved" },
  ...{ count: 1, firstMs: 1, lastMs: 2, resolvedMs: 3 },
};

const LETTER: Omit<DeadLetter, "runId"> = {
  ...{ pipeline: "react", rule: null, params: 1, state: "failed", reason: "no", errors: [], createdMs: 1 },
};

const SILENCE: Silence = {
  ...{ id: "s-0", match: [{ name: "rule", pattern: "a*" }], mute: ["runs"], comment: "c", createdBy: "x" },
  ...{ createdMs: 1, untilMs: 2, ended: null, counts: noCounts() },
};

function changeOf(runId: string, more: Partial<RunChange>): RunChange {
  return { runId, guards: [], steps: [], records: [runRecordOf(`${runId} changed`)], ...more };
}

async function stateOf(store: InProcessStore, id: string): Promise<RunRow["state"] | undefined> {
  return (await store.run(id))?.run.state;
}

const later = (name: string): LaterRun => ({
  ...{ id: `later-${name}`, key: `run-0/first+${name}`, pipeline: "react", params: { a: 1 }, dueMs: 5 },
  ...{ byWall: true, plugin: "exec", run: "run-0", step: "first", rule: null },
  ...{ cause: "e-0", hops: 2, createdMs: 1 },
});

const remember: RuleChanges = {
  version: 0,
  states: [
    { rule: "r", key: "a", body: 1 },
    { rule: "gone", key: "a", body: 1 },
  ],
  entries: [1, 2, 3].map((atMs) => ({ rule: "r", key: "a", atMs, value: atMs })),
  expire: [],
  findings: [finding, { ...finding, id: "f-1" }],
};

/** Touches every write that there is, those of a salvage excepted. */
function steps(): Step[] {
  const attempt = { stepId: "first", number: 1, fence: 1, startedMs: 3, endedMs: null, error: null };
  const has = (id: string) => async (store: InProcessStore) => (await store.run(id)) !== null;
  const is = (id: string, state: RunRow["state"]) => async (store: InProcessStore) =>
    (await stateOf(store, id)) === state;
  return [
    {
      act: (store) =>
        store.commitEvents(
          commitOf(["e-0", "e-1"], {
            runs: [{ event: 0, start: startOf("run-0", "e-0") }],
            checkpoint: { at: 1 },
            rules: remember,
          }),
        ),
      done: has("run-0"),
    },
    {
      act: (store) => {
        const states = [{ rule: "r", key: "a", body: null }];
        const rules = { version: 1, states, entries: [], expire: [{ rule: "r", beforeMs: 2 }], findings: [] };
        return store.commitEvents(
          commitOf(
            Array.from({ length: 40 }, (_, i) => `f-${i}`),
            { rules },
          ),
        );
      },
      done: async (store) => (await store.lastEvent()) === 42,
    },
    { act: (store) => store.trim(), done: async () => false },
    {
      act: (store) => store.startRuns([startOf("run-1", null), startOf("run-2", null)]),
      done: has("run-2"),
    },
    {
      act: (store) =>
        store.changeRun(
          changeOf("run-0", {
            guards: [{ stepId: "first", fence: 0, state: "queued" }],
            steps: [{ stepId: "first", state: "running", fence: 1, attempts: 1 }],
            newSteps: [stepOf("run-0", "first+1", 2)],
            lock: { namespace: "default", lock: "disk" },
            attempt: { runId: "run-0", ...attempt, state: "running" },
            sideEffect: { minute: 100, pipeline: "react" },
            run: { state: "running", startedMs: 3 },
          }),
        ),
      done: is("run-0", "running"),
    },
    ...["run-0", "run-1"].map((id) => ({
      act: (store: InProcessStore) =>
        store.changeRun(
          changeOf(id, {
            ...(id === "run-0" ? { removedSteps: ["first+1"] } : {}),
            steps: [{ stepId: "first", state: "failed" as const, output: { code: 3 } }],
            run: { state: "failed" as const },
            unlock: true,
            dead: { ...LETTER, runId: id, state: "failed" },
          }),
        ),
      done: is(id, "failed"),
    })),
    {
      act: (store) => store.editDeadLetter("run-1", 7),
      done: async (store) => (await store.deadLetter("run-1"))?.params === 7,
    },
    { act: (store) => store.dropDeadLetter("run-0", startOf("run-3", null)), done: has("run-3") },
    {
      act: (store) =>
        store.changeRun(changeOf("run-2", { run: { state: "failed" }, dead: { ...LETTER, runId: "run-2" } })),
      done: is("run-2", "failed"),
    },
    {
      act: (store) => store.setOutputCursor("archive", 42),
      done: async (store) => (await store.outputCursor("archive")) === 42,
    },
    {
      act: (store) => store.keepTexts([{ hash: "config-1", text: '{"rules":{"r":"rule-1"}}' }]),
      done: async (store) => (await store.texts(["config-1"]))["config-1"] !== undefined,
    },
    { act: (store) => store.setSetting("a", 1), done: async (store) => (await store.setting("a")) === 1 },
    ...memorySteps(),
    {
      act: (store) => store.closeSegments([LANES.events, LANES.results]),
      done: async (store) => (await store.streams()).filter(({ closed }) => closed).length === 2,
    },
    {
      act: (store) => store.commitEvents(commitOf(["g-0", "g-1"])),
      done: async (store) => (await store.lastEvent()) === 44,
    },
    { act: (store) => store.startRuns([startOf("run-5", null), startOf("run-6", null)]), done: has("run-6") },
    { act: acknowledgeAll, done: async (store) => (await unacknowledged(store)) === 0 },
    {
      act: (store) => store.ruleMemory(["r"]),
      done: async () => false,
    },
    {
      act: async (store) => {
        for (const trigger of ["schedule:gone", "schedule:a"])
          await store.commitEvents({ trigger, events: [], runs: [], checkpoint: { at: 1 }, recordedMs: 1 });
      },
      done: async (store) => (await store.checkpoint("schedule:a")) !== undefined,
    },
    {
      act: (store) => store.checkpointsOf("schedule:", ["schedule:a"]),
      done: async () => false,
    },
    { act: trimAll, done: async () => false },
    {
      act: (store) => store.startRuns([startOf("run-4", null)]),
      done: has("run-4"),
    },
    {
      act: (store) => store.changeRun(changeOf("run-4", { newLaters: [later("a"), later("b")] })),
      done: async (store) => (await store.laterRuns()).length === 2,
    },
    {
      act: (store) => store.endLater("later-a", "cancelled"),
      done: async (store) => (await store.laterRuns()).length === 1,
    },
  ];
}

/** A key that is checked out and updated, one that is deleted, one that is over. */
function memorySteps(): Step[] {
  const at = { namespace: "web", key: "count", nowMs: 1 };
  const put = (key: string, expiresMs: number | null) => (store: InProcessStore) =>
    store.memoryPut({ ...at, key, text: "1", expiresMs, token: null });
  const has = (key: string, wanted: unknown) => async (store: InProcessStore) =>
    ((await store.memoryGet("web", key, 1))?.value ?? null) === wanted;
  return [
    { act: put("gone", null), done: has("gone", 1) },
    {
      act: (store) => store.memoryDelete({ ...at, key: "gone", token: null }),
      done: has("gone", null),
    },
    {
      act: async (store) => {
        const { token } = await store.memoryCheckOut(at);
        await store.memoryPut({ ...at, text: "2", expiresMs: null, token });
      },
      done: has("count", 2),
    },
    { act: put("over", 5), done: has("over", 1) },
    {
      act: (store) => store.memorySweep(6),
      done: async (store) => (await store.memoryOf("web")).every(({ key }) => key !== "over"),
    },
    {
      act: async (store) => {
        const { token } = await store.memoryCheckOut(at);
        await store.memoryCheckIn("web", "count", token);
        await store.memoryCheckOut(at);
      },
      done: async () => false,
    },
    ...["a", "b"].map((name): Step => ({
      act: (store) =>
        store.setParameter({
          ...{ namespace: null, name, value: 1, secret: false },
          changedMs: 1,
          changedBy: "x",
        }),
      done: async (store) => (await store.parameters()).some((each) => each.name === name),
    })),
    {
      act: (store) => store.removeParameter(null, "b"),
      done: async (store) => (await store.parameters()).length === 1,
    },
    ...[1, 2].map((number): Step => ({
      act: (store) =>
        store.putSecrets({
          key: { number, master: "file", sealed: Uint8Array.of(number), madeMs: 1 },
          secrets: ["a", "b"].map((name) => ({
            ...{
              namespace: null,
              name,
              dataKey: number,
              sealed: Uint8Array.of(7),
              changedMs: 1,
              changedBy: "x",
            },
          })),
        }),
      done: async (store) => (await store.sealedSecrets()).keys[0]?.number === number,
    })),
    {
      act: (store) => store.removeSecret(null, "b"),
      done: async (store) => (await store.sealedSecrets()).secrets.length === 1,
    },
    ...[0, 1].map((runs): Step => ({
      act: (store) => store.putSilence({ ...SILENCE, counts: { ...noCounts(), runs } }, 1),
      done: async (store) => (await store.silences())[0]?.counts.runs === runs,
    })),
    {
      act: (store) =>
        store.keepReceiptCertificates([
          { hub: "hub", serial: "01", certificate: Uint8Array.of(1), authority: Uint8Array.of(2) },
        ]),
      done: async (store) => (await store.receiptCertificates()).length === 1,
    },
    { act: (store) => store.memoryFree(), done: async () => false },
  ];
}

async function acknowledgeAll(store: InProcessStore): Promise<void> {
  for (const { lane, segment, last, lastHash } of await store.streams())
    await store.acknowledge(
      { epoch: store.facts.epoch, lane, segment, number: last, hash: lastHash },
      { hub: "hub", key: "01", atMs: 1, signature: new Uint8Array(64) },
    );
}

async function unacknowledged(store: InProcessStore): Promise<number> {
  const streams = await store.streams();
  return streams.reduce((sum, { last, acknowledged }) => sum + last - acknowledged, 0);
}

/** By itself trimming is tried again later and says nothing: here its failure is looked for. */
async function trimAll(store: InProcessStore): Promise<void> {
  for (const hour of [9, 9, 9, 8]) {
    trustedMs = hour * HOUR_MS;
    await store.trim();
  }
  const { deadLetters } = await store.stats();
  const ended = await store.runs({ open: false, limit: 9 });
  if (deadLetters > 1 || ended.length > 1) throw new Error("it was not trimmed");
}

/** All that there is to see, in which nothing depends on when it was done. */
async function everything(store: InProcessStore) {
  const runs = await store.runs({ limit: 100 });
  return {
    runs: await Promise.all(runs.map(({ run }) => store.run(run.id))),
    letters: (await store.deadLetters(10)).map(({ runId, params }) => [runId, params]),
    dropped: (await store.stats()).deadLettersDropped,
    rules: await store.ruleMemory(["r"]),
    findings: await store.findings({}, 10),
    locks: await store.lockPlaces(),
    events: await store.eventsAfter(0, 100),
    checkpoint: await store.checkpoint("app"),
    later: await store.laterRuns(),
    schedules: [await store.checkpoint("schedule:a"), await store.checkpoint("schedule:gone")],
    cursor: await store.outputCursor("archive"),
    setting: await store.setting("a"),
    parameters: await store.parameters(),
    secrets: await store.sealedSecrets(),
    silences: await store.silences(),
    receipts: (await store.receipts())
      .map(({ cursor: { lane, number }, receipt }) => ({ lane, number, receipt }))
      .toSorted((a, b) => a.lane - b.lane),
    certificates: await store.receiptCertificates(),
    memory: (await store.memoryOf("web")).map(({ key, value }) => [key, value]),
    streams: (await store.streams())
      .map(({ lane, last, acknowledged }) => ({ lane, last, acknowledged }))
      .toSorted((a, b) => a.lane - b.lane),
  };
}

/** Does it all, and what fails or dies once more, if it was not done. */
async function workload(path: string, faults: Fault[]) {
  let crashed = () => {};
  let struck = 0;
  let order = faults;
  const open = async (): Promise<InProcessStore> => {
    const options = {
      path,
      ids: systemIds(),
      wall: () => 1,
      time: { trusted: () => trustedMs, mono: () => 1 },
      retention: RETENTION,
      onCrash: () => crashed(),
      onFault: () => void struck++,
    };
    const given = order;
    order = [];
    return await openInProcessStore({ ...options, faults: given }).catch(() => open());
  };
  trustedMs = HOUR_MS;
  let store = await open();
  let again = 0;
  for (const { act, done } of steps()) {
    while (!(await done(store))) {
      const death = new Promise<"died">((resolve) => (crashed = () => resolve("died")));
      const end = await Promise.race([
        death,
        act(store).then(
          () => "done",
          () => "failed",
        ),
      ]);
      if (end === "done") break;
      again++;
      if (end === "died") store = await open();
      if (again > 5) throw new Error("it fails again and again");
    }
  }
  for (const lane of [LANES.events, LANES.results]) await chainOf(store, lane);
  const seen = await everything(store);
  const labels = store.labels();
  await store.close();
  return { seen, labels, struck };
}

/** Throws when the rows that are left do not join. */
async function chainOf(store: InProcessStore, lane: number): Promise<void> {
  const stream = (await store.streams()).find((each) => each.lane === lane);
  if (stream) await readLane(store, lane, Math.max(1, stream.last - 1));
}

/** Writes that this does not reach: one-off repairs, which have tests of their own. */
const ELSEWHERE = new Set([
  ...[
    "outbox.delete",
    "outbox.renumber",
    "streams.close",
    "epochs.insert",
    "streams.forget",
    "renewEpoch",
    "probe",
  ],
  // outbox-eviction-crash.test.ts
  ...["outbox.evict", "outbox.loss", "outbox.take-in", "outbox.renumber-loss"],
  "definitions.trim",
]);

test("each of them, in each way", async () => {
  let number = 0;
  const run = (faults: Fault[]) => workload(join(folder, `${number++}.db`), faults);
  const { seen: wanted, labels } = await run([]);
  const missed: string[] = [];
  for (const label of labels.filter((each) => !ELSEWHERE.has(each))) {
    for (const at of ["before", "after"] as const) {
      for (const kind of ["crash", "SQLITE_IOERR_WRITE", "SQLITE_CONSTRAINT"]) {
        // An error after the commit is none that a disk can give: what is committed is committed.
        if (label === "commit" && kind !== "crash") continue;
        const skip = label === "commit" ? 3 : 0;
        const fault: Fault = { label, at, with: kind, skip };
        const { seen, struck } = await run([fault]);
        if (struck !== 1) missed.push(`${kind} ${at} ${label}`);
        expect(seen, `${kind} ${at} ${label}`).toEqual(wanted);
      }
    }
  }
  expect(missed).toEqual([]);
});
