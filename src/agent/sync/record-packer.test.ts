import { expect, test } from "bun:test";
import { randomBytes } from "node:crypto";
import { LANES, type RecordBatch, ZERO_HASH } from "../../model/record.ts";
import { decompressed } from "../../protocol/records-zstd.ts";
import { MAX_FRAME_BYTES } from "../../protocol/transport.ts";
import { batchOfRecords } from "../../protocol/transport-frames.ts";
import { RecordPacker } from "./record-packer.ts";

function batchOf(bodies: Buffer[]): RecordBatch {
  const records = bodies.map((body, index) => ({ number: index + 1, class: 1, body }));
  const hashes = { prevHash: Buffer.from(ZERO_HASH), lastHash: Buffer.from(ZERO_HASH) };
  return { epoch: "e", lane: LANES.events, segment: 1, first: 1, ...hashes, records };
}

const text = (rows: number) =>
  batchOf(Array.from({ length: rows }, (_, index) => Buffer.from(`{"id":"e-${index}","type":"probe.down"}`)));

async function packed(packer: RecordPacker, batch: RecordBatch) {
  const { frame } = await packer.frame(batch);
  if (frame?.$case !== "records") throw new Error("no frame of records");
  return frame.value;
}

test("only where both sides can, and not for a few rows", async () => {
  for (const [capabilities, rows, zstd] of [
    [["zstd"], 500, true],
    [["zstd"], 20, false],
    [["segments"], 500, false],
  ] as const) {
    const batch = text(rows);
    const frame = await packed(new RecordPacker(new Set(capabilities)), batch);
    expect(frame.zstd.length > 0).toBe(zstd);
    expect(batchOfRecords(await decompressed(frame, true))).toEqual(batch);
  }
});

test("where it saves nothing it is left alone for a while", async () => {
  const packer = new RecordPacker(new Set(["zstd"] as const));
  const noise = batchOf([randomBytes(20_000)]);
  expect((await packed(packer, noise)).zstd).toHaveLength(0);
  let plain = 0;
  while ((await packed(packer, text(500))).zstd.length === 0) plain++;
  expect(plain).toBe(32);
});

test("what no frame can hold stays as it is, so that it is named where it is sent", async () => {
  const batch = batchOf([Buffer.alloc(MAX_FRAME_BYTES + 1, "x")]);
  expect((await packed(new RecordPacker(new Set(["zstd"] as const)), batch)).zstd).toHaveLength(0);
});
