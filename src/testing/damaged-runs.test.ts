/**
 * Rows of open runs that were changed on the disk, column by column, and bits flipped where they lie: whatever a start
 * makes of it, no run stays open for ever. Either every run ends, or the file is set aside and what is saved of it ends.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { DamagedRuns, type Outcome } from "./damaged-runs.ts";
import { Seeded } from "./seeded.ts";

const SEED = 20261121;
/** Of each column, with other rows and other values each time. */
const TRIALS = 6;
const PAGE = 4096;
const TEN_THOUSAND_YEARS_MS = 315_569_520_000_000;

const KEYS: Record<string, string[]> = {
  runs: ["n"],
  steps: ["run", "step"],
  attempts: ["run", "step", "number"],
  lock_places: ["n"],
  // What each change of a run writes as well: where that fails for good, the run never ends.
  streams: ["epoch", "lane", "segment"],
  meta: ["key"],
};
type Row = Record<string, string | number | null>;
interface Column {
  table: string;
  name: string;
  type: string;
  notnull: number;
}

const runs = new DamagedRuns();
beforeAll(() => runs.make(), 60_000);
afterAll(() => runs.end());

function columns(): Column[] {
  return Object.keys(KEYS).flatMap((table) =>
    runs
      .read<Omit<Column, "table">>(`PRAGMA table_info(${table})`)
      .map((column) => ({ ...column, table }))
      // The index of open runs goes with it here; without it the damage shows as any bit does.
      .filter(({ name, type }) => name !== "open" && type !== "BLOB"),
  );
}

function wrongNumbers(value: number): number[] {
  const far = [value + 2 ** 41, value + TEN_THOUSAND_YEARS_MS, 2 ** 62, -(2 ** 62)];
  return [0, 1, 2, -1, value + 1, value - 1, ...far];
}

function wrongTexts(value: string, random: Seeded): string[] {
  const at = random.int(0, Math.max(0, value.length - 1));
  const flipped = String.fromCharCode(value.charCodeAt(at) ^ (1 << random.int(0, 4)));
  return ["", "x", value.slice(0, at) + flipped + value.slice(at + 1), value.slice(0, -1), `${value}x`];
}

/** What a row of this column might say instead: what others say, nothing, and what nobody says. */
function wrongValues({ type, notnull, name }: Column, row: Row, others: Row[], random: Seeded) {
  const value = row[name] ?? null;
  const made = type === "INTEGER" ? wrongNumbers(Number(value)) : wrongTexts(String(value ?? ""), random);
  const values = [...made, ...others.map((other) => other[name] ?? null), ...(notnull ? [] : [null])];
  return [...new Set(values)].filter((each) => each !== value && (each !== null || !notnull));
}

/** Null where the table itself refuses such a row. */
async function changed(
  table: string,
  sql: string,
  row: Row,
  ...values: Row[string][]
): Promise<Outcome | null> {
  const keys = KEYS[table]!;
  const where = keys.map((key) => `${key} = ?`).join(" AND ");
  try {
    return await runs.change(`${sql} WHERE ${where}`, ...values, ...keys.map((key) => row[key]!));
  } catch (error) {
    if (/constraint failed|datatype mismatch/.test((error as Error).message)) return null;
    throw error;
  }
}

function flipped(places: number[], random: Seeded): Buffer {
  const bytes = Buffer.from(runs.sound);
  for (const at of places) bytes[at]! ^= 1 << random.int(0, 7);
  return bytes;
}

/** Pages on which one of the words is. */
function pagesWith(words: string[]): number[] {
  const pages = Array.from({ length: runs.sound.length / PAGE }, (_, n) => n * PAGE);
  return pages.filter((at) => words.some((word) => runs.sound.subarray(at, at + PAGE).includes(word)));
}

/** A byte that says something: most of a page is empty. */
function placeOn(pages: number[], random: Seeded): number {
  for (;;) {
    const at = random.pick(pages) + random.int(0, PAGE - 1);
    if (runs.sound[at] !== 0) return at;
  }
}

test("untouched, nothing is damage and every run ends", async () => {
  expect(await runs.startOn(runs.sound)).toEqual({ told: false, left: [] });
});

test(`each column of open runs says something else (seed ${SEED})`, async () => {
  const random = new Seeded(SEED);
  let told = 0;
  for (const column of columns()) {
    const { table, name } = column;
    const rows = runs.read<Row>(`SELECT * FROM ${table}`);
    for (let trial = 0; trial < TRIALS; trial++) {
      const row = random.pick(rows);
      const values = wrongValues(column, row, rows, random);
      const value = random.pick(values);
      const outcome = await changed(table, `UPDATE ${table} SET ${name} = ?`, row, value);
      if (outcome?.told) told++;
      const what = `${table} ${KEYS[table]!.map((key) => row[key])}: ${name} ${row[name]} is ${value}`;
      expect([what, outcome?.left ?? []]).toEqual([what, []]);
    }
  }
  expect(told).toBeGreaterThan(50);
}, 240_000);

test.each(["steps", "lock_places", "streams"])(
  "a row of %s is not there",
  async (table) => {
    for (const row of runs.read<Row>(`SELECT * FROM ${table}`)) {
      const outcome = await changed(table, `DELETE FROM ${table}`, row);
      expect([row, outcome!.left]).toEqual([row, []]);
    }
  },
  120_000,
);

describe("times in ten thousand years", () => {
  test.each([
    ["a retry", "UPDATE steps SET not_before_ms = not_before_ms + ? WHERE step = 'flaky'"],
    ["the deadline of a run", "UPDATE runs SET deadline_ms = deadline_ms + ? WHERE deadline_ms > 0"],
    [
      "the deadlines of steps",
      "UPDATE steps SET extra = json_set(extra, '$.deadlineMs', extra ->> 'deadlineMs' + ?) WHERE extra ->> 'deadlineMs' > 0",
    ],
  ])("%s: it is no damage, and not waited for", async (_, sql) => {
    expect(await runs.change(sql, TEN_THOUSAND_YEARS_MS)).toEqual({ told: false, left: [] });
  });
});

describe("what is told at the start, and set aside at the next", () => {
  test.each([
    [
      "a pipeline that is not that of its hash",
      `UPDATE definitions SET body = replace(body, '"before"', '"beforf"')`,
    ],
    [
      "a child run that would tell another of its end",
      "UPDATE runs SET parent_run = 'x' WHERE pipeline = 'inner'",
    ],
    [
      "a list whose items are over",
      "UPDATE steps SET state = 'skipped', waits = NULL WHERE step LIKE 'each[%'",
    ],
    ["a stream that gives numbers out again", "UPDATE streams SET last = 0"],
    ["a table that is another", "ALTER TABLE runs RENAME COLUMN concurrency_key TO concurrency_kex"],
  ])("%s", async (_, sql) => {
    expect(await runs.change(sql)).toEqual({ told: true, left: [] });
  });
});

describe("places at locks", () => {
  test.each([
    ["of a run that is not open", "UPDATE lock_places SET run = 'somebody else' WHERE n = 1"],
    ["of nobody", "DELETE FROM lock_places"],
    ["at another lock", "UPDATE lock_places SET lock = lock || 'x'"],
  ])("%s: nobody waits for them", async (_, sql) => {
    expect(await runs.change(sql)).toEqual({ told: false, left: [] });
  });
});

test(`bits flipped where open runs are (seed ${SEED})`, async () => {
  const random = new Seeded(SEED);
  const ids = runs.read<{ id: string }>("SELECT id FROM runs WHERE open = 1").map(({ id }) => id);
  const pages = pagesWith([...ids, `"onFailure"`]);
  for (let n = 0; n < 120; n++) {
    const places = Array.from({ length: 1 + (n % 3) }, () => placeOn(pages, random));
    const { left } = await runs.startOn(flipped(places, random));
    expect([places, left]).toEqual([places, []]);
  }
}, 240_000);

test(`bits flipped in what the tables are (seed ${SEED}): the store opens, if need be at the next start`, async () => {
  const random = new Seeded(SEED);
  const pages = pagesWith(["CREATE TABLE"]);
  for (let n = 0; n < 60; n++) {
    const place = placeOn(pages, random);
    // What says of which version they are may say that they are newer ones: such a file is another executable's.
    if (place >= 60 && place < 64) continue;
    const { left } = await runs.startOn(flipped([place], random));
    expect([place, left]).toEqual([place, []]);
  }
}, 240_000);
