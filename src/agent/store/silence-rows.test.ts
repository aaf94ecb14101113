import { afterEach, beforeEach, expect, test } from "bun:test";
import { noCounts, type Silence } from "../../model/silence.ts";
import { openDatabase } from "../../storage/open-database.ts";
import { WriteGate } from "../../storage/write-gate.ts";
import { migrate } from "../../storage/migrations.ts";
import { AGENT_MIGRATIONS } from "./migrations/migrations.ts";
import { SilenceRows } from "./silence-rows.ts";
import { type Fixture, fixture } from "./store-fixtures.ts";

let place: Fixture;
beforeEach(() => void (place = fixture()));
afterEach(() => place.end());

const silence = (id: string, more: Partial<Silence> = {}): Silence => ({
  ...{ id, match: [{ name: "rule", pattern: "a*" }], mute: ["runs", "events"], comment: "why" },
  ...{ createdBy: "local:0", createdMs: 1, untilMs: 100, ended: null, counts: noCounts(), ...more },
});

test("silences are kept as they were made; of those that are over the oldest go when there are too many", async () => {
  const database = openDatabase(place.path);
  migrate(database, AGENT_MIGRATIONS, place.path);
  const gate = new WriteGate(undefined);
  const rows = new SilenceRows(database, gate);
  const first = silence("s-0");
  rows.put(first);
  expect(rows.all()).toEqual([first]);
  const ended = { ...first, ended: { by: "local:7", atMs: 5 }, counts: { runs: 3, findings: 0, events: 1 } };
  rows.put({ ...ended, comment: "what was said stays as it was said" });
  expect(rows.all()).toEqual([ended]);
  // Counts that were on their way while it was ended do not begin it again.
  rows.put({ ...ended, ended: null });
  expect(rows.all()).toEqual([ended]);
  for (let n = 1; n <= 4; n++) rows.put(silence(`s-${n}`, { untilMs: n * 100 }));
  rows.trim(200, 2);
  expect(rows.all().map(({ id }) => id)).toEqual(["s-1", "s-2", "s-3", "s-4"]);
  rows.trim(200, 0);
  expect(rows.all().map(({ id }) => id)).toEqual(["s-3", "s-4"]);
  gate.close();
  database.close(true);
});
