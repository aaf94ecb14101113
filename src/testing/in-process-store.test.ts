import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { commitOf, idsOf, readLane, startOf } from "../agent/store/store-fixtures.ts";
import { systemIds } from "../core/ids.ts";
import { LANES } from "../model/record.ts";
import type { Fault } from "../storage/faults.ts";
import { type InProcessStore, openInProcessStore, SimulatedCrash } from "./in-process-store.ts";

let folder: string;
let open: InProcessStore[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-in-process-"));
  open = [];
});
afterEach(async () => {
  for (const store of open) await store.close();
  rmSync(folder, { recursive: true, force: true });
});

async function opened(faults: Fault[] = [], more = {}): Promise<InProcessStore> {
  const path = join(folder, "agent.db");
  const store = await openInProcessStore({ path, ids: systemIds(), wall: () => 1, faults, ...more });
  open.push(store);
  return store;
}

/** Whether a promise has settled once nothing is left that could settle it. */
async function settles(promise: Promise<unknown>): Promise<boolean> {
  let settled = false;
  const note = () => (settled = true);
  promise.then(note, note);
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
  return settled;
}

test("it is the store: what is committed is there after a restart", async () => {
  const first = await opened();
  await first.commitEvents(commitOf(["e-0"], { runs: [{ event: 0, start: startOf("run-1", "e-0") }] }));
  await first.close();
  const store = await opened();
  expect(idsOf(await readLane(store, LANES.events))).toEqual(["e-0"]);
  expect((await store.openRuns()).map(({ run }) => run.id)).toEqual(["run-1"]);
  expect(store.labels()).toEqual(
    expect.arrayContaining(["commit", "changeRun", "events.insert", "steps.update"]),
  );
});

test.each([
  ["commit", "before", []],
  ["commit", "after", ["lost-or-kept"]],
  ["events.insert", "after", []],
  ["streams.head", "before", []],
] as const)(
  "a crash at %s (%s) takes the open transaction with it, and no answer comes",
  async (label, at, kept) => {
    let crashes = 0;
    const store = await opened([{ label, at, with: "crash", skip: 1 }], { onCrash: () => crashes++ });
    await store.commitEvents(commitOf(["before"]));
    expect(await settles(store.commitEvents(commitOf(["lost-or-kept"])))).toBe(false);
    expect(store.crashed).toBe(true);
    expect(crashes).toBe(1);
    expect(await settles(store.lastEvent())).toBe(false);
    await store.close();
    const again = await opened();
    expect(again.facts.salvage).toBeNull();
    expect(idsOf(await readLane(again, LANES.events))).toEqual(["before", ...kept]);
  },
);

test("nothing is written after a crash, also when the group's other operations would be run again", async () => {
  const store = await opened([
    { label: "settings.put", at: "after", with: "SQLITE_CONSTRAINT" },
    { label: "checkpoints.put", at: "before", with: "crash" },
  ]);
  await store.commitEvents(commitOf(["before"]));
  // The first goes out alone; the others are one group behind it.
  const first = store.commitEvents(commitOf(["first"]));
  const group = [
    store.commitEvents(commitOf(["second"])),
    store.setSetting("broken", 1),
    store.commitEvents(commitOf(["third"], { checkpoint: 1 })),
  ];
  for (const write of group) expect(await settles(write)).toBe(false);
  expect(await first).toEqual({ duplicates: [] });
  expect(idsOf(await readLane(await opened(), LANES.events))).toEqual(["before", "first"]);
});

test("it can be killed between two writes, and struck later by order", async () => {
  const first = await opened();
  await first.commitEvents(commitOf(["kept"]));
  first.crash();
  expect(await settles(first.commitEvents(commitOf(["lost"])))).toBe(false);
  const store = await opened();
  store.order({ label: "commit", at: "before", with: "SQLITE_FULL" });
  expect(await store.commitEvents(commitOf(["refused"])).catch((error: Error) => error)).toMatchObject({
    code: "exhausted",
  });
  expect(idsOf(await readLane(store, LANES.events))).toEqual(["kept"]);
});

test("a crash while the store is being made", async () => {
  const faults: Fault[] = [{ label: "meta.put", at: "after", with: "crash" }];
  expect(await opened(faults).catch((error: unknown) => error)).toBeInstanceOf(SimulatedCrash);
  expect(await (await opened()).lastEvent()).toBe(0);
});
