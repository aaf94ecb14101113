import { describe, expect, test } from "bun:test";
import { FrameReader } from "./channel.ts";
import { MAX_FRAME_BYTES } from "./frames.ts";

function frame(text: string): Buffer {
  const body = Buffer.from(text);
  const header = Buffer.alloc(4);
  header.writeUInt32BE(body.length, 0);
  return Buffer.concat([header, body]);
}

function read(bytes: Buffer, chunk: number): unknown[] {
  const reader = new FrameReader();
  const frames: unknown[] = [];
  for (let at = 0; at < bytes.length; at += chunk) {
    reader.push(bytes.subarray(at, at + chunk), (value) => frames.push(value));
  }
  return frames;
}

describe("frames are the same however the bytes are cut", () => {
  const values = [1, "ä€😀", { a: [null, true] }, "x".repeat(5000), {}];
  const bytes = Buffer.concat(values.map((value) => frame(JSON.stringify(value))));
  test.each([1, 2, 3, 4, 5, 7, 64, 1000, 1_000_000])("%i bytes at a time", (chunk) => {
    expect(read(bytes, chunk)).toEqual(values);
  });
});

describe("what is no frame is refused", () => {
  const header = (length: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(length, 0);
    return bytes;
  };
  test("one byte over the cap, from the header alone", () => {
    expect(() => read(header(MAX_FRAME_BYTES + 1), 4)).toThrow("at most");
  });
  test("an empty one", () => {
    expect(() => read(header(0), 4)).toThrow("0 bytes");
  });
  test("text", () => {
    expect(() => read(Buffer.from("hello, this is no frame"), 64)).toThrow("at most");
  });
  test("no JSON", () => {
    expect(() => read(frame("{oops"), 64)).toThrow("not JSON");
  });
});
