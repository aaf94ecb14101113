import { expect, test } from "bun:test";
import type { FindingItem } from "./client/finding-schemas.ts";
import { csvHeader, csvRow } from "./finding-csv.ts";

const ITEM: FindingItem = {
  id: "f-1",
  rule: "r",
  key: "k",
  severity: "error",
  title: "t",
  state: "open",
  count: 3,
  firstAt: "2026-01-01T00:00:00.000Z",
  lastAt: "2026-01-02T00:00:00.000Z",
  resolvedAt: null,
  data: { a: 1 },
  event: null,
  run: null,
  acknowledgedBy: null,
  acknowledgedAt: null,
  resolution: null,
  resolvedBy: null,
  reason: null,
  notes: [],
};
const titleCell = (title: string) => csvRow({ ...ITEM, title }).split(",2026", 1)[0];

test("a row has as many cells as the header", () => {
  expect(csvRow(ITEM).split(",")).toHaveLength(csvHeader().split(",").length);
  expect(csvRow(ITEM)).toStartWith("f-1,open,error,r,k,t,3,2026-01-01");
  expect(csvRow(ITEM)).toEndWith(',"{""a"":1}"');
});

test.each([
  ["=1+1", "'=1+1"],
  ["+1", "'+1"],
  ["-1", "'-1"],
  ["@SUM(A1)", "'@SUM(A1)"],
  ["  =1", "'  =1"],
  ["\t=1", "'\t=1"],
  ["\r=1", `"'\r=1"`],
  ["＝1", "'＝1"],
  ['=HYPERLINK("x","y")', `"'=HYPERLINK(""x"",""y"")"`],
  ['a "b", c', `"a ""b"", c"`],
  ["a=1", "a=1"],
])("%j", (title, cell) => expect(titleCell(title)).toBe(`f-1,open,error,r,k,${cell},3`));
