import { expect, test } from "bun:test";
import { zstdCompressSync } from "node:zlib";
import { Seeded } from "../testing/seeded.ts";
import { type Records, RecordList } from "./gen/holdfast/v1/sync.ts";
import { compressed, decompressed } from "./records-zstd.ts";
import { MAX_FRAME_BYTES } from "./transport.ts";

function frameOf(bodies: string[], zstd = Buffer.alloc(0)): Records {
  const hash = Buffer.alloc(32);
  const records = bodies.map((body) => ({ class: 1, body: Buffer.from(body) }));
  return { epoch: "e", lane: 2, segment: 1, first: 1n, prevHash: hash, lastHash: hash, records, zstd };
}

function packed(bytes: Uint8Array): Buffer<ArrayBuffer> {
  return Buffer.from(zstdCompressSync(bytes));
}

const invalid = (message: string) => ({ code: "invalid", message: expect.stringContaining(message) });

test("rows come out as they went in, and as many fewer bytes", async () => {
  const plain = frameOf(Array.from({ length: 500 }, (_, index) => `{"id":"e-${index}","type":"probe.down"}`));
  const { records, rawBytes } = await compressed(plain);
  expect(records.records).toEqual([]);
  expect(records.zstd.length).toBeLessThan(rawBytes / 4);
  expect(await decompressed(records, true)).toEqual(plain);
  expect(await decompressed(plain, false)).toBe(plain);
});

test("a frame that becomes larger than frames may be is refused, however small it came", async () => {
  const bomb = packed(Buffer.alloc(256 << 20));
  expect(bomb.length).toBeLessThan(64 * 1024);
  const before = process.memoryUsage.rss();
  for (let i = 0; i < 10; i++) {
    await expect(decompressed(frameOf([], bomb), true)).rejects.toMatchObject(invalid("larger than"));
  }
  expect(process.memoryUsage.rss() - before).toBeLessThan(128 << 20);
  // The header may say that it is small.
  const lie = Buffer.from(bomb);
  lie.writeUInt32LE(1000, 5);
  await expect(decompressed(frameOf([], lie), true)).rejects.toMatchObject({ code: "invalid" });
  const most = frameOf(["x".repeat(MAX_FRAME_BYTES - 32)]);
  expect(await decompressed((await compressed(most)).records, true)).toEqual(most);
});

test("what is no list of rows, comes twice, or was not agreed on is refused", async () => {
  const zstd = (await compressed(frameOf(["a", "b"]))).records.zstd;
  const cases: [Records, boolean, string][] = [
    [frameOf([], Buffer.from(zstd)), false, "not agreed on"],
    [frameOf(["a"], Buffer.from(zstd)), true, "rows twice"],
    [frameOf([], Buffer.from("no zstd at all")), true, "cannot be decompressed"],
    [frameOf([], Buffer.from(zstd.subarray(0, zstd.length - 3))), true, "malformed batch"],
    [frameOf([], packed(Buffer.from([0xff, 0xff, 0xff]))), true, "no list of rows"],
  ];
  for (const [frame, allowed, message] of cases) {
    await expect(decompressed(frame, allowed)).rejects.toMatchObject(invalid(message));
  }
});

test("altered bytes are refused or give rows, and never anything else", async () => {
  const random = new Seeded(5);
  const { zstd } = (await compressed(frameOf(["one", "two", "three".repeat(100)]))).records;
  const raw = RecordList.encode({ records: frameOf(["one", "two"]).records }).finish();
  for (let i = 0; i < 500; i++) {
    const bytes = Buffer.from(random.chance(0.5) ? zstd : raw);
    for (let n = random.int(1, 4); n > 0; n--) bytes[random.int(0, bytes.length - 1)] = random.int(0, 255);
    const made = random.chance(0.5) ? bytes : packed(bytes);
    const result = await decompressed(frameOf([], made), true).catch((error: { code: string }) => error.code);
    if (typeof result === "string") expect(result).toBe("invalid");
    else expect(Array.isArray(result.records)).toBe(true);
  }
});
