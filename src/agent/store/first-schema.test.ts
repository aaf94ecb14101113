import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { migrate } from "../../storage/migrations.ts";
import { openDatabase } from "../../storage/open-database.ts";
import { first } from "./migrations/0001-first.ts";
import { AGENT_MIGRATIONS } from "./migrations/migrations.ts";
import { DEFINITION, eventOf, type Fixture, fixture, SOURCE, stepOf } from "./store-fixtures.ts";

let place: Fixture;
beforeEach(() => {
  place = fixture();
});
afterEach(() => place.end());

const EPOCH = "ab".repeat(16);
const STEP = { id: "first", action: "exec", needs: [], with: { command: ["true"] }, timeoutMs: 1000 };
const RETRY = { attempts: 3, kind: "fixed", initialMs: 5, maxMs: 5 };
/** A pipeline as the first version of the agent wrote it. */
const OLD_DEFINITION = {
  name: "react",
  namespace: "default",
  concurrency: 1,
  steps: [
    { ...STEP, retry: RETRY, effect: "ask" },
    { ...STEP, id: "second", needs: ["first"], retry: RETRY, effect: "idempotent" },
  ],
  onFailure: [{ ...STEP, id: "tell", retry: RETRY, effect: "idempotent" }],
};

/** A store of the first schema: an open run, one that waits for a person, and one that has ended. */
function firstStore(): void {
  const database = openDatabase(place.path);
  migrate(database, [first], place.path);
  const put = (sql: string, ...params: (string | number | null)[]) => database.query(sql).run(...params);
  put("INSERT INTO meta VALUES ('epoch', ?)", JSON.stringify(EPOCH));
  put("INSERT INTO epochs (epoch, reason, began_ms) VALUES (?, 'created', 1)", EPOCH);
  put("INSERT INTO sources VALUES (1, ?)", SOURCE);
  put("INSERT INTO events VALUES (1, 1, 'e-0', 'log.line', 1, 1, ?)", eventOf("e-0").body);
  put("INSERT INTO rule_times VALUES ('errors', 42)");
  put("INSERT INTO definitions VALUES ('h', ?)", JSON.stringify(OLD_DEFINITION));
  const run = (n: number, id: string, rule: string | null, state: string, open: number) =>
    put(
      "INSERT INTO runs VALUES (?, ?, 'react', 'h', ?, ?, 'e-0', 1, '{}', ?, ?, NULL, 5, 6, NULL)",
      n,
      id,
      rule,
      SOURCE,
      state,
      open,
    );
  const step = (run: number, id: string, position: number, state: string, attempts: number) =>
    put(
      "INSERT INTO steps VALUES (?, ?, 'steps', ?, ?, ?, 0, ?, 0, NULL, NULL, NULL, NULL, NULL)",
      run,
      id,
      position,
      state,
      attempts,
      attempts,
    );
  run(3, "run-3", "errors", "running", 1);
  step(3, "first", 0, "running", 1);
  step(3, "second", 1, "waiting", 0);
  put("INSERT INTO attempts VALUES (3, 'first', 1, 1, 'running', 6, NULL, NULL)");
  run(4, "run-4", "errors", "running", 1);
  step(4, "first", 0, "waiting", 2);
  step(4, "second", 1, "waiting", 0);
  run(5, "run-5", null, "succeeded", 0);
  database.close();
}

async function check(): Promise<void> {
  const store = await place.open();
  const open = await store.openRuns();
  expect(open.map(({ run }) => run.id)).toEqual(["run-3", "run-4"]);
  const [going, asking] = open;
  expect(going!.run).toEqual({
    id: "run-3",
    pipeline: "react",
    definition: "h",
    rule: "errors",
    starter: { kind: "rule", by: "errors" },
    eventSource: SOURCE,
    eventId: "e-0",
    params: {},
    priority: 0,
    concurrencyKey: null,
    parent: null,
    retryOf: null,
    state: "running",
    reason: null,
    stop: null,
    deadlineMs: null,
    output: null,
    createdMs: 5,
    startedMs: 6,
    endedMs: null,
  });
  expect(going!.event).toEqual(JSON.parse(eventOf("e-0").body));
  expect(going!.steps).toEqual([
    { ...stepOf("run-3", "first", 0), state: "running", attempts: 1, fence: 1 },
    stepOf("run-3", "second", 1),
  ]);
  expect(asking!.steps[0]).toMatchObject({ state: "waiting", waits: "decision", attempts: 2 });
  // Every field that pipelines have now is there, with what it means to leave it out.
  expect(going!.definition).toEqual({
    ...DEFINITION,
    steps: OLD_DEFINITION.steps.map((step) => ({ ...DEFINITION.steps[0]!, ...step })) as never,
    onFailure: OLD_DEFINITION.onFailure.map((step) => ({ ...DEFINITION.steps[0]!, ...step })) as never,
  });
  expect(await store.sideEffects(0)).toEqual([]);
  const done = { stepId: "first", state: "succeeded" as const, endedMs: 7 };
  const guards = [{ stepId: "first", fence: 1, state: "running" as const }];
  expect(await store.changeRun({ runId: "run-3", guards, steps: [done], records: [] })).toBe(true);
  const run = { state: "succeeded" as const, endedMs: 9 };
  expect(await store.changeRun({ runId: "run-3", guards: [], steps: [], run, records: [] })).toBe(true);
  expect((await store.openRuns()).map(({ run: { id } }) => id)).toEqual(["run-4"]);
  await store.close();
}

test("a store of the first schema opens, and its runs go on", async () => {
  firstStore();
  await check();
  const database = new Database(place.path);
  expect(database.query("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
  const store = await place.open();
  expect(store.facts).toEqual({
    epoch: EPOCH,
    schemaVersion: AGENT_MIGRATIONS.at(-1)!.version,
    salvage: null,
  });
  expect((await store.runs({ limit: 9 })).map(({ number }) => number)).toEqual([5, 4, 3]);
  expect((await store.run("run-5"))!.run.starter).toEqual({ kind: "manual", by: "unknown" });
  database.close();
});

test("a damaged store of the first schema is salvaged into one of this schema, and its runs go on", async () => {
  firstStore();
  writeFileSync(`${place.path}-damaged`, "told\n");
  const store = await place.open();
  expect(store.facts.salvage!.salvaged).toMatchObject({ runs: 2, runsLost: 0 });
  await store.close();
  await check();
});
