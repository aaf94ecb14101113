import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { silentLogger } from "../../core/logger.ts";
import type { KeptReceipt, StreamCursor } from "../../model/record.ts";
import { HubFrame } from "../../protocol/gen/holdfast/v1/sync.ts";
import { ackFrame, cursorOf } from "../../protocol/transport-frames.ts";
import { AGENT, ReceiptAgent, receiptFolder, ReceiptHub, type Tamper } from "../../testing/receipt-rig.ts";
import { Seeded } from "../../testing/seeded.ts";
import { until } from "../../testing/until.ts";
import { commitOf, numbered } from "../store/store-fixtures.ts";
import { ReceiptBook } from "./receipt-book.ts";

const folder = receiptFolder();
let hub: ReceiptHub;
beforeAll(async () => void (hub = await ReceiptHub.start(folder.path("hub.db"))));
afterAll(async () => {
  await hub.store.close();
  folder.remove();
});

const cursor: StreamCursor = {
  ...{ epoch: "23523e86437870902079b7501d1a0175", lane: 2, segment: 1, number: 12_345 },
  hash: new Uint8Array(32).fill(7),
};

function book(kept: KeptReceipt[] = [], authority = hub.ca.certificate): ReceiptBook {
  const store = { receipts: async () => kept, keepReceiptCertificates: async () => {} };
  return new ReceiptBook({ agent: AGENT, store, authority: async () => authority, log: silentLogger() });
}

test("of an ack no bit can be changed", async () => {
  const receipts = book();
  await receipts.begin(hub.store.hubId, hub.signer.certificates(), true);
  const { receipt, certificate } = await hub.signer.sign(AGENT, cursor);
  const bytes = Buffer.from(HubFrame.encode(ackFrame(cursor, receipt, certificate)).finish());
  const genuine = HubFrame.decode(bytes).frame!.value;
  let refused = 0;
  // The certificate comes last: it is known from the welcome, and not looked at again.
  for (let bit = 0; bit < (bytes.length - certificate.length) * 8; bit++) {
    const changed = Buffer.from(bytes);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    try {
      const { frame } = HubFrame.decode(changed);
      if (frame?.$case !== "ack") throw new Error("no ack any more");
      await receipts.check(cursorOf(frame.value.cursor!), frame.value.receipt);
      const { receipt: left, cursor: at } = frame.value;
      // What counts is what was signed; the length of a field that is not looked at may be another.
      expect([bit, at, left!.key, left!.atMs, left!.signature]).toEqual([
        bit,
        (genuine as typeof frame.value).cursor,
        receipt.key,
        BigInt(receipt.atMs),
        Buffer.from(receipt.signature),
      ]);
    } catch (error) {
      if (error instanceof Error && error.message.includes("expect(")) throw error;
      refused++;
    }
  }
  expect(refused).toBeGreaterThan((bytes.length - certificate.length) * 7);
});

describe("whose receipts are taken", () => {
  const check = async (by: ReceiptBook, agent = AGENT) => {
    const { receipt } = await hub.signer.sign(agent, cursor);
    const frame = ackFrame(cursor, receipt).frame!;
    if (frame.$case !== "ack") throw new Error("no ack");
    return await by.check(cursor, frame.value.receipt).then(
      () => "taken",
      (error: Error) => error.message,
    );
  };

  test("of the hub of this session, for this agent", async () => {
    const receipts = book();
    await receipts.begin(hub.store.hubId, hub.signer.certificates(), true);
    expect(await check(receipts)).toBe("taken");
    expect(await check(receipts, "web-02")).toContain("not its signature");
    await receipts.begin("another hub", hub.signer.certificates(), true);
    expect(await check(receipts)).toContain("not its signature");
    expect(receipts.counts).toEqual({ verified: 1, wrong: 2 });
  });

  test("of keys whose certificates the welcome names, which the CA of the enrollment vouches for", async () => {
    const receipts = book();
    await receipts.begin(hub.store.hubId, [], true);
    expect(await check(receipts)).toContain("no certificate of its CA");
    const der = Buffer.from(hub.signer.certificates()[0]!);
    await receipts.begin(
      hub.store.hubId,
      [Buffer.alloc(0), Buffer.from("none"), der, Buffer.alloc(5000)],
      true,
    );
    expect(await check(receipts)).toBe("taken");
    const changed = Buffer.from(der);
    changed[changed.length - 5]! ^= 1;
    await receipts.begin(hub.store.hubId, [changed], true);
    expect(await check(receipts)).toContain("no certificate of its CA");
    const { createTestCa } = await import("../../testing/test-ca.ts");
    const stranger = book([], (await createTestCa("another")).certificate);
    await stranger.begin(hub.store.hubId, [der], true);
    expect(await check(stranger)).toContain("no certificate of its CA");
  });

  test("of as many keys as a hub may have, the newest", async () => {
    const receipts = book();
    const serials = new X509Certificate(hub.signer.certificates()[0]!).serialNumber.toLowerCase();
    const many = Array.from({ length: 300 }, () => Buffer.from("none"));
    await receipts.begin(hub.store.hubId, [...many, ...hub.signer.certificates()], true);
    expect(await check(receipts)).toBe("taken");
    await receipts.begin(hub.store.hubId, [...hub.signer.certificates(), ...many], true);
    expect(await check(receipts)).toContain(serials);
  });
});

test("what a hub has lost is told by the newest receipt of each stream of its own and this epoch", async () => {
  const kept = (number: number, more: Partial<StreamCursor> = {}, of = "hub"): KeptReceipt => ({
    cursor: { ...cursor, number, ...more },
    receipt: { hub: of, key: "4f", atMs: 1, signature: new Uint8Array(64) },
  });
  const receipts = book([
    kept(10),
    kept(7, { lane: 1 }),
    kept(99, {}, "another"),
    kept(99, { epoch: "older" }),
    kept(3, { segment: 2 }),
  ]);
  await receipts.load();
  const lost = (cursors: StreamCursor[]) =>
    receipts
      .lostBy("hub", cursor.epoch, cursors)
      .map(({ held, cursor: { lane, segment, number } }) => [lane, segment, held, number]);
  const has = (number: number, more: Partial<StreamCursor> = {}) => ({ ...cursor, number, ...more });
  expect(lost([has(10), has(8, { lane: 1 }), has(3, { segment: 2 })])).toEqual([]);
  expect(lost([has(9), has(7, { lane: 1 }), has(50, { epoch: "older", segment: 2 })])).toEqual([
    [2, 1, 9, 10],
    [2, 2, 0, 3],
  ]);
  expect(lost([])).toHaveLength(3);
});

/** Rows come, sessions break, acks are lost or forged, keys change, the hub starts again: in the end all is signed for. */
test.each([1, 2, 3, 4, 5, 6])(
  "whatever happens, only what is signed for counts (seed %i)",
  async (seed) => {
    const random = new Seeded(seed);
    const place = receiptFolder();
    const own = await ReceiptHub.start(place.path("hub.db"));
    let calm = false;
    const tamper: Tamper = (frame) => {
      if (calm || frame.frame?.$case !== "ack") return frame;
      const drawn = random.next();
      if (drawn < 0.1) return undefined;
      if (drawn > 0.2) return frame;
      const { cursor: at, receipt } = frame.frame.value;
      const further = { ...at!, number: at!.number + BigInt(random.int(0, 2)) };
      const signature = Buffer.from(receipt!.signature);
      signature[random.int(0, 63)]! ^= 1 << random.int(0, 7);
      return { frame: { $case: "ack", value: { cursor: further, receipt: { ...receipt!, signature } } } };
    };
    const start = () => ReceiptAgent.start(place.path("agent.db"), own, { tamper });
    let agent = await start();
    const check = async () => {
      // Acks may come between the readings: what is read before is at most, what is read after at least as far.
      const before = await agent.store.receipts();
      const streams = await agent.store.streams();
      const after = await agent.store.receipts();
      const held = await own.store.agentStreams(AGENT);
      for (const { lane, segment, acknowledged } of streams) {
        const same = (each: { lane: number; segment: number }) =>
          each.lane === lane && each.segment === segment;
        const signed = (receipts: KeptReceipt[]) =>
          receipts.find((kept) => same(kept.cursor))?.cursor.number ?? 0;
        expect(signed(before)).toBeLessThanOrEqual(acknowledged);
        expect(signed(after)).toBeGreaterThanOrEqual(acknowledged);
        expect(held.find(same)?.number ?? 0).toBeGreaterThanOrEqual(acknowledged);
      }
    };
    let rows = 0;
    for (let act = 0; act < 25; act++) {
      const drawn = random.next();
      if (drawn < 0.7) {
        const count = random.int(1, 20);
        rows += count;
        await agent.store.commitEvents(commitOf(numbered(`s${seed}-${act}-`, count)));
      } else if (drawn < 0.8) await own.signer.rotate();
      else if (drawn < 0.9) {
        await agent.stop();
        agent = await start();
      } else await Bun.sleep(random.int(0, 20));
      await check();
    }
    calm = true;
    // An ack that was swallowed is told again with the next session, as one is that was lost with its session.
    await agent.stop();
    agent = await start();
    await until("all is signed for", () => agent.sync.status().receipts.events?.number === rows, 20_000);
    await until("nothing is behind", () => agent.sync.status().lagRows === 0, 20_000);
    await check();
    await agent.stop();
    await own.store.close();
    place.remove();
  },
  60_000,
);
