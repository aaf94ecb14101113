import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { generateKeyPairSync, sign } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { createLogger } from "../../core/logger.ts";
import { renderMetrics } from "../../core/metrics.ts";
import {
  LANES,
  type LossRecordBody,
  lossText,
  RECORD_CLASSES,
  type RecordBatch,
} from "../../model/record.ts";
import { chainHashes } from "../../protocol/chain.ts";
import { numbered } from "../../protocol/loss.ts";
import { openHubStore, type SqlHubStore } from "../store/hub-store.ts";
import { eventBody } from "../store/test-batches.ts";
import { Ingest } from "./ingest.ts";

const AGENT = "web-01";
const pair = () => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
  return { privateKey, spki: new Uint8Array(publicKey.export({ type: "spki", format: "der" })) };
};
const KEYS = pair();
const OTHER = pair();

let folder: string;
let file: string;
let store: SqlHubStore;
let ingest: Ingest;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "hub-losses-"));
  file = join(folder, "hub.db");
  const clock = systemClock();
  store = await openHubStore({ file, clock, ids: systemIds() });
  ingest = new Ingest({
    store,
    clock,
    log: createLogger({ sinks: [], level: () => "debug", wall: clock.wall }),
  });
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

type Item = { lost: number; change?: (loss: LossRecordBody) => Partial<LossRecordBody> } | { event: string };

/** A stream of an agent whose losses are signed, unless they are changed after that. */
class Stream {
  readonly epoch: string;
  number = 0;
  hash: Uint8Array = new Uint8Array(32);
  #losses = 0;

  constructor(epoch = "e1") {
    this.epoch = epoch;
  }

  next(...items: Item[]): RecordBatch {
    const first = this.number + 1;
    const prevHash = this.hash;
    for (const item of items) this.#add(item);
    const records = numbered(first, this.#rows.splice(0));
    const { epoch, hash: lastHash } = this;
    return { epoch, lane: LANES.events, segment: 1, first, prevHash, lastHash, records };
  }

  readonly #rows: { class: number; body: Uint8Array }[] = [];

  #add(item: Item): void {
    if ("event" in item) {
      const body = Buffer.from(JSON.stringify(eventBody(item.event)));
      this.number++;
      const record = { number: this.number, class: RECORD_CLASSES.event, body };
      this.hash = chainHashes(this.hash, [record])[0]!;
      this.#rows.push(record);
      return;
    }
    const lastHash = Buffer.alloc(32, ++this.#losses).toString("hex");
    const loss: LossRecordBody = {
      ...{ first: this.number + 1, last: this.number + item.lost, counts: { 1: item.lost } },
      ...{ prevHash: Buffer.from(this.hash).toString("hex"), lastHash, reason: "cap", atMs: 5 },
    };
    const text = lossText({ agent: AGENT, epoch: this.epoch, lane: LANES.events, segment: 1 }, loss);
    const key = { key: KEYS.privateKey, dsaEncoding: "ieee-p1363" as const };
    const signature = sign("sha256", Buffer.from(text), key).toString("base64");
    const told = { ...loss, signature, ...item.change?.(loss) };
    this.number = loss.last;
    this.hash = new Uint8Array(Buffer.from(lastHash, "hex"));
    this.#rows.push({ class: RECORD_CLASSES.loss, body: Buffer.from(JSON.stringify(told)) });
  }
}

const take = (batch: RecordBatch, key: Uint8Array = KEYS.spki, agent = AGENT) =>
  ingest.records(agent, batch, key);
const refusal = (batch: RecordBatch, key?: Uint8Array, agent?: string) =>
  take(batch, key, agent).then(
    () => null,
    (error: { code: string; message: string }) => error,
  );

describe("a loss record", () => {
  test("stands for its numbers: the stream goes on behind them, and it is kept like any other record", async () => {
    const stream = new Stream();
    await take(stream.next({ event: "a" }, { event: "b" }));
    const outcome = await take(stream.next({ lost: 1000 }, { event: "c" }));
    expect(outcome).toMatchObject({ kind: "ack", cursor: { number: 1003 }, added: 2 });
    expect(await store.counts()).toMatchObject({ records: 4, events: 3 });
    expect(await store.agentLosses(AGENT)).toMatchObject([
      { first: 3, last: 1002, counts: { 1: 1000 }, reason: "cap", atMs: 5, lane: LANES.events },
    ]);
    expect(await store.lostRows(AGENT)).toBe(1000);
    const { text } = await renderMetrics(ingest.metrics());
    expect(text).toContain('holdfast_hub_records_lost_total{class="event"} 1000');
    const database = new Database(file, { readonly: true });
    const kept = database.query("SELECT signature, public_key FROM losses").get() as Record<
      string,
      Uint8Array
    >;
    database.close();
    expect(kept.signature).toHaveLength(64);
    expect(Buffer.compare(kept.public_key!, KEYS.spki)).toBe(0);
  });

  test("may be the first of its stream, and next to another one", async () => {
    const stream = new Stream();
    await take(stream.next({ lost: 10 }, { lost: 20 }));
    expect(await take(stream.next({ lost: 30 }))).toMatchObject({ kind: "ack", cursor: { number: 60 } });
    expect((await store.agentLosses(AGENT)).map(({ first, last }) => [first, last])).toEqual([
      [31, 60],
      [11, 30],
      [1, 10],
    ]);
  });

  test("that comes again is a true duplicate, alone or with what is new behind it", async () => {
    const stream = new Stream();
    const batch = stream.next({ event: "a" }, { lost: 10 });
    await take(batch);
    expect(await take(batch)).toMatchObject({ kind: "ack", cursor: { number: 11 }, added: 0 });
    const more = stream.next({ event: "b" });
    const both = { ...batch, lastHash: more.lastHash, records: [...batch.records, ...more.records] };
    expect(await take(both)).toMatchObject({ kind: "ack", cursor: { number: 12 }, added: 1 });
    expect(await store.agentLosses(AGENT)).toHaveLength(1);
    // An older part of the stream, whose last number lies before the loss.
    expect(await take(batch)).toMatchObject({ kind: "ack", cursor: { number: 12 }, added: 0 });
  });

  test("behind a gap is asked for like any row", async () => {
    const stream = new Stream();
    stream.next({ event: "a" });
    expect(await take(stream.next({ lost: 5 }))).toMatchObject({ kind: "gap", cursor: { number: 0 } });
  });

  test("that an agent has carried into a new epoch counts once", async () => {
    await take(new Stream("e1").next({ lost: 10 }));
    await take(new Stream("e2").next({ lost: 10 }));
    expect(await store.agentLosses(AGENT)).toHaveLength(2);
    expect(await store.lostRows(AGENT)).toBe(10);
  });
});

describe("refused, with nothing kept and counted", () => {
  test.each<[string, (loss: LossRecordBody) => Partial<LossRecordBody>]>([
    ["without a signature", () => ({ signature: undefined })],
    ["with a signature of zeros", () => ({ signature: Buffer.alloc(64).toString("base64") })],
    ["with a signature that is too short", () => ({ signature: "AAAA" })],
    ["with other counts", () => ({ counts: { 2: 10 } })],
    ["with counts that do not fit its numbers", () => ({ counts: { 1: 9 } })],
    ["with more numbers", ({ last }) => ({ last: last + 1, counts: { 1: 11 } })],
    ["with fewer numbers", ({ last }) => ({ last: last - 1, counts: { 1: 9 } })],
    ["with another last hash", () => ({ lastHash: "ab".repeat(32) })],
    ["with another hash before it", () => ({ prevHash: "ab".repeat(32) })],
    ["with another reason", () => ({ reason: "damaged" })],
    ["with a reason that there is not", () => ({ reason: "mood" as "cap" })],
    ["with another time", () => ({ atMs: 6 })],
    ["whose last comes before its first", ({ first }) => ({ last: first - 1 })],
    ["with a class over a byte", () => ({ counts: { 256: 10 } })],
    ["with a number that is none", () => ({ first: 1.5 })],
  ])("%s", async (_name, change) => {
    const error = await refusal(new Stream().next({ event: "a" }, { lost: 10, change }, { event: "b" }));
    expect(error).toMatchObject({ code: "invalid" });
    expect(await store.counts()).toMatchObject({ records: 0, events: 0 });
    expect(await store.agentLosses(AGENT)).toEqual([]);
    const { text } = await renderMetrics(ingest.metrics());
    expect(text).toContain("holdfast_hub_ingest_refused_total 1");
  });

  test.each<[string, Uint8Array, string]>([
    ["signed with the key of another certificate", OTHER.spki, AGENT],
    ["where the session has no key", new Uint8Array(), AGENT],
    ["replayed by another agent", KEYS.spki, "web-02"],
  ])("%s", async (_name, key, agent) => {
    expect(await refusal(new Stream().next({ lost: 10 }), key, agent)).toMatchObject({
      code: "invalid",
      message: expect.stringContaining("not signed"),
    });
    expect(await store.agentLosses(agent)).toEqual([]);
  });

  test("replayed at another place of the same stream", async () => {
    const stream = new Stream();
    const batch = stream.next({ lost: 10 });
    await take(batch);
    expect(await refusal({ ...batch, first: 11, prevHash: batch.lastHash })).toMatchObject({
      code: "invalid",
    });
    const [record] = batch.records;
    const again = { ...batch, first: 11, prevHash: batch.lastHash, records: [{ ...record!, number: 20 }] };
    expect(await refusal(again)).toMatchObject({ code: "invalid" });
  });

  test.each(["{broken", "null", '"text"', "[]", "x".repeat(10_000)])(
    "a body that is none: %p",
    async (body) => {
      const batch = new Stream().next({ lost: 10 });
      const records = numbered(1, [{ class: RECORD_CLASSES.loss, body: Buffer.from(body) }]);
      expect(await refusal({ ...batch, records })).toMatchObject({ code: "invalid" });
    },
  );
});

describe("two histories", () => {
  test("rows are here that the agent now calls lost: a fork, and both are kept", async () => {
    const one = new Stream();
    await take(one.next({ event: "a" }, { event: "b" }, { event: "c" }));
    const other = new Stream();
    const batch = other.next({ event: "a" }, { lost: 10 });
    expect(await take(batch)).toMatchObject({ kind: "fork", cursor: { number: 3 } });
    expect(await store.agentStreams(AGENT)).toMatchObject([{ number: 3, forked: 1 }]);
    expect(await store.agentLosses(AGENT)).toEqual([]);
  });

  test("rows come for numbers that a loss record stands for here", async () => {
    await take(new Stream().next({ lost: 10 }));
    const batch = new Stream().next({ event: "a" }, { event: "b" });
    expect(await take(batch)).toMatchObject({ kind: "fork", cursor: { number: 10 } });
    expect(await store.agentStreams(AGENT)).toMatchObject([{ number: 10, forked: 2 }]);
  });

  test("a loss of the same numbers with another last hash", async () => {
    await take(new Stream().next({ lost: 10 }));
    const stream = new Stream();
    stream.next({ lost: 1 });
    stream.number = 0;
    stream.hash = new Uint8Array(32);
    expect(await take(stream.next({ lost: 10 }))).toMatchObject({ kind: "fork" });
    expect(await store.lostRows(AGENT)).toBe(10);
  });
});
