import { afterEach, beforeEach, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { writeFileSync } from "node:fs";
import { type HashedText, hashedText } from "../../model/attempt-facts.ts";
import { commitOf, type Fixture, fixture, keep, SOURCE, startOf } from "./store-fixtures.ts";
import type { AgentStore } from "./port.ts";

let place: Fixture;
beforeEach(() => {
  place = fixture();
});
afterEach(() => place.end());

const RULE = hashedText({ name: "errors", when: "true" });
const CONFIG = hashedText({ config: "conf", triggers: {}, rules: { errors: RULE.hash } });
const WORKER = hashedText({ plugin: "exec" });
const NOBODYS = hashedText("what nothing goes back to");
const HASHES = [RULE, CONFIG, WORKER, NOBODYS].map(({ hash }) => hash);
const ENDED = { cause: "memory", text: "memory: 3 MB", memory: 3e6, cpu: 7 } as const;
const ATTEMPT = { stepId: "first", number: 1, fence: 1, startedMs: 3, endedMs: 4, error: null };

/** A run of this configuration with one attempt by this worker, and every text. */
async function filled(store: AgentStore, id: string): Promise<void> {
  await store.keepTexts([RULE, CONFIG, WORKER, NOBODYS]);
  await store.startRuns([startOf(id, null, { config: CONFIG.hash })]);
  await store.changeRun({
    ...{ runId: id, guards: [], records: [] },
    steps: [{ stepId: "first", state: "running", fence: 1, attempts: 1 }],
    attempt: { runId: id, ...ATTEMPT, state: "running", facts: { worker: WORKER.hash, ended: ENDED } },
    run: { state: "running", startedMs: 3 },
  });
}

async function end(store: AgentStore, runId: string): Promise<void> {
  const steps = [{ stepId: "first", state: "failed" as const, endedMs: 4 }];
  await store.changeRun({ runId, guards: [], steps, records: [], run: { state: "failed", endedMs: 4 } });
}

async function kept(store: AgentStore): Promise<string[]> {
  return Object.keys(await store.texts(HASHES)).toSorted();
}

function sorted(...texts: HashedText[]): string[] {
  return texts.map(({ hash }) => hash).toSorted();
}

test("what a run goes back to comes back as it was given", async () => {
  const store = await place.open();
  await filled(store, "run-1");
  expect(await store.texts([CONFIG.hash, "no-such-hash"])).toEqual({ [CONFIG.hash]: CONFIG.text });
  const { run, attempts } = (await store.run("run-1"))!;
  expect(run.config).toBe(CONFIG.hash);
  expect(attempts[0]!.facts).toEqual({ worker: WORKER.hash, ended: ENDED });
  expect((await store.openRuns())[0]!.run.config).toBe(CONFIG.hash);
});

test("an event is found by its id, whatever its source", async () => {
  const store = await place.open();
  const other = { ...commitOf(["e-1"]), trigger: "other" };
  other.events = other.events.map((event) => ({
    ...event,
    source: `${SOURCE}-2`,
    body: event.body.replace(SOURCE, `${SOURCE}-2`),
  }));
  await store.commitEvents(commitOf(["e-1", "e-2"]));
  await store.commitEvents(other);
  expect((await store.eventsById("e-1")).map(({ source }) => source)).toEqual([`${SOURCE}-2`, SOURCE]);
  expect(await store.eventsById("e-3")).toEqual([]);
});

test("texts stay as long as a run goes back to them, a rule's through its configuration; the others go", async () => {
  const store = await place.open();
  await filled(store, "run-1");
  await end(store, "run-1");
  await store.close();
  const again = await place.open({ retention: { runs: keep(1) } });
  expect(await kept(again)).toEqual(HASHES.toSorted());
  await again.startRuns([startOf("run-2", null)]);
  await again.close();
  const third = await place.open({ retention: { runs: keep(2) } });
  await third.startRuns([startOf("run-3", null), startOf("run-4", null)]);
  for (const id of ["run-2", "run-3"]) await end(third, id);
  await third.trim();
  expect((await third.run("run-1")) === null).toBe(true);
  expect(await kept(third)).toEqual([]);
});

test("texts of a run that stays are not touched when others go", async () => {
  const store = await place.open();
  await store.startRuns([startOf("run-0", null)]);
  await end(store, "run-0");
  await filled(store, "run-1");
  await end(store, "run-1");
  await store.close();
  const again = await place.open({ retention: { runs: keep(1) } });
  await again.trim();
  expect(await again.run("run-0")).toBeNull();
  expect(await kept(again)).toEqual(sorted(RULE, CONFIG, WORKER));
});

test("of a damaged store an open run keeps them; a text that was changed is not carried", async () => {
  const store = await place.open();
  await filled(store, "run-1");
  await store.close();
  const database = new Database(place.path);
  database.run("UPDATE definitions SET body = '{}' WHERE hash = ?", [WORKER.hash]);
  database.close();
  writeFileSync(`${place.path}-damaged`, "row 5 is not what was written\n");
  const salvaged = await place.open();
  expect(salvaged.facts.salvage).not.toBeNull();
  expect(await kept(salvaged)).toEqual(sorted(RULE, CONFIG));
  const { run, attempts } = (await salvaged.run("run-1"))!;
  expect([run.config, attempts[0]!.facts]).toEqual([CONFIG.hash, { worker: WORKER.hash, ended: ENDED }]);
});
