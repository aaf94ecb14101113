import { expect, test } from "bun:test";
import { configSchema } from "../../model/config.ts";
import { parseSize } from "../../core/size.ts";
import { Seeded } from "../../testing/seeded.ts";
import * as v from "valibot";
import { type AgeWindow, ageAllowance, goneByAge } from "./age-allowance.ts";
import { configuredRetention } from "./configured-retention.ts";
import { bytesInUse, DEFAULT_RETENTION, type Doomed, doomed, type TableFacts } from "./retention.ts";

const ALL = Number.MAX_SAFE_INTEGER;
const CAP = { keep: 100, ageMs: 1000 };
/** A hundred rows, 1 to 100; nobody needs them and none is old. */
const FACTS: TableFacts = {
  ...{
    rows: 100,
    first: 1,
    neededFrom: ALL,
    neededThough: ALL,
    agedTo: 0,
    ageAllowance: 10,
    tooLarge: false,
  },
};

const cases: [what: string, facts: Partial<TableFacts>, expected: Doomed | null][] = [
  ["as many as may be", {}, null],
  ["too many", { rows: 107 }, { reason: "count", to: ALL - 1, rows: 7 }],
  ["a step at most", { rows: 500 }, { reason: "count", to: ALL - 1, rows: 50 }],
  ["too many, some needed", { rows: 107, neededFrom: 4 }, { reason: "count", to: 3, rows: 7 }],
  ["too many, all needed", { rows: 107, neededFrom: 1 }, null],
  ["some too old", { agedTo: 30 }, { reason: "age", to: 30, rows: 10 }],
  [
    "some too old, and some of them needed",
    { agedTo: 30, neededFrom: 8 },
    { reason: "age", to: 7, rows: 10 },
  ],
  ["the oldest ones needed", { agedTo: 30, neededFrom: 1 }, null],
  ["too old, and enough for this hour", { agedTo: 30, ageAllowance: 0 }, null],
  ["the old ones are behind", { agedTo: 30, first: 31 }, null],
  ["too many and too old", { rows: 101, agedTo: 30 }, { reason: "count", to: ALL - 1, rows: 1 }],
  ["too large", { tooLarge: true }, { reason: "size", to: ALL - 1, rows: 50 }],
  ["too large, and unread", { tooLarge: true, neededFrom: 1 }, { reason: "size", to: ALL - 1, rows: 50 }],
  ["too large, and needed", { tooLarge: true, neededFrom: 1, neededThough: 1 }, null],
  ["too large and too old", { tooLarge: true, agedTo: 5 }, { reason: "age", to: 5, rows: 10 }],
];
test.each(cases)("%s", (_what, facts, expected) => {
  expect(doomed({ ...FACTS, ...facts }, CAP, 50)).toEqual(expected);
});

test("whatever the facts: nothing goes that is needed, young, or beyond step and allowance", () => {
  const random = new Seeded(8);
  for (let turn = 0; turn < 5000; turn++) {
    const first = random.int(1, 50);
    const neededThough = random.int(1, 120);
    const facts: TableFacts = {
      ...{ rows: random.int(0, 300), first, neededThough, neededFrom: random.int(1, neededThough) },
      ...{ agedTo: random.int(0, 120), ageAllowance: random.int(0, 20), tooLarge: random.chance(0.3) },
    };
    const step = random.int(1, 60);
    const due = doomed(facts, CAP, step);
    if (due === null) {
      if (facts.rows > CAP.keep) expect(facts.neededFrom).toBeLessThanOrEqual(first);
      continue;
    }
    expect(due.to).toBeGreaterThanOrEqual(first);
    expect(due.rows).toBeGreaterThan(0);
    expect(due.rows).toBeLessThanOrEqual(step);
    expect(due.to).toBeLessThan(due.reason === "size" ? facts.neededThough : facts.neededFrom);
    if (due.reason === "age") {
      expect(due.to).toBeLessThanOrEqual(facts.agedTo);
      expect(due.rows).toBeLessThanOrEqual(facts.ageAllowance);
    }
    if (due.reason === "count") expect(facts.rows - due.rows).toBeGreaterThanOrEqual(CAP.keep);
  }
});

test("in no hour, wherever it begins, does more than a tenth go by age", () => {
  const HOUR = 3_600_000;
  const random = new Seeded(3);
  for (let turn = 0; turn < 50; turn++) {
    let rows = random.int(10, 5000);
    let window: AgeWindow | undefined;
    const gone: { at: number; rows: number; of: number }[] = [];
    for (let at = 0, look = 0; look < 300; look++, at += random.int(1, HOUR / 3)) {
      const wanted = Math.min(random.int(1, rows), ageAllowance(window, rows, at));
      if (wanted > 0) {
        window = goneByAge(window, rows, wanted, at);
        gone.push({ at, rows: wanted, of: window.rows });
        rows -= wanted;
      }
      rows += random.int(0, 20);
    }
    for (const { at, of } of gone) {
      const within = gone.filter((each) => each.at >= at && each.at < at + HOUR);
      const total = within.reduce((sum, each) => sum + each.rows, 0);
      expect(total).toBeLessThanOrEqual(Math.max(1, Math.max(of, ...within.map((each) => each.of)) / 10));
    }
  }
});

test("a small table loses one row an hour", () => {
  const window = goneByAge(undefined, 5, 1, 1000);
  expect(ageAllowance(undefined, 5, 1000)).toBe(1);
  expect(ageAllowance(window, 4, 3_600_999)).toBe(0);
  expect(ageAllowance(window, 4, 3_601_000)).toBe(1);
});

test("the defaults of the configuration are those of the store; the store leaves room for the logs", () => {
  const config = v.parse(configSchema, { hub: { url: "grpcs://hub.example:8443" } });
  expect(configuredRetention(config)).toEqual({ ...DEFAULT_RETENTION, outputs: [] });
  expect(configuredRetention({ ...config, hub: undefined }).sent.rows).toBe(10_000);
  const limits = { ...config.limits, disk: "1GB" };
  expect(configuredRetention({ ...config, limits }).bytes).toBe(parseSize("768MB"));
  expect(bytesInUse(parseSize("64MB"))).toBe(parseSize("48MB"));
  expect(bytesInUse(parseSize("2GB"))).toBe(parseSize("2GB") - parseSize("128MB"));
});
