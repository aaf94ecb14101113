import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { migrate } from "../../storage/migrations.ts";
import { WriteGate } from "../../storage/write-gate.ts";
import { AGENT_MIGRATIONS } from "./migrations/migrations.ts";
import { type PackedCertificate, type PackedReceipt, ReceiptRows } from "./receipt-rows.ts";

let database: Database;
let gate: WriteGate;
let rows: ReceiptRows;
beforeEach(() => {
  database = new Database(":memory:", { strict: true });
  migrate(database, AGENT_MIGRATIONS, "test");
  gate = new WriteGate(undefined);
  rows = new ReceiptRows(database, gate);
});
afterEach(() => {
  gate.close();
  database.close();
});

const receipt = (number: number, more: Partial<PackedReceipt> = {}): PackedReceipt => ({
  ...{ hub: "hub", epoch: "e", lane: 1, segment: 1, number, hash: "aa".repeat(32), key: "01" },
  ...{ atMs: number, signature: "bb".repeat(64), ...more },
});

const certificate = (serial: string, hub = "hub"): PackedCertificate => ({
  ...{ hub, serial, certificate: "30", authority: "31" },
});

test("the newest receipt of each stream stays; one of fewer rows takes nothing away", () => {
  rows.put(receipt(5));
  rows.put(receipt(9));
  rows.put(receipt(7, { atMs: 99 }));
  rows.put(receipt(3, { lane: 2 }));
  rows.put(receipt(2, { hub: "other" }));
  expect(rows.all()).toEqual([receipt(9), receipt(3, { lane: 2 }), receipt(2, { hub: "other" })]);
});

test("of too many streams the oldest go", () => {
  for (const segment of [1, 2, 3, 4]) rows.put(receipt(1, { segment }), 2);
  expect(rows.all().map(({ segment }) => segment)).toEqual([3, 4]);
});

test("a certificate stays while a receipt names it, however many come", () => {
  rows.put(receipt(1));
  rows.putCertificates([certificate("01"), certificate("02"), certificate("01")], 1);
  rows.putCertificates([certificate("03")], 1);
  expect(rows.certificates()).toEqual([certificate("01"), certificate("03")]);
});
