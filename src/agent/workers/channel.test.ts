import { describe, expect, test } from "bun:test";
import { FrameChannel, FrameReader } from "./channel.ts";
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

/** A channel whose other side is a program that has the socket as descriptor 3. */
async function channelTo(command: string) {
  const child = Bun.spawn(["sh", "-c", command], { stdio: ["ignore", "pipe", "inherit", "pipe"] });
  const received: unknown[] = [];
  let arrived = () => {};
  const channel = await FrameChannel.open((child.stdio as unknown as number[])[3]!, {
    frame: (value) => {
      received.push(value);
      arrived();
    },
    closed: () => {},
  });
  const frames = async (count: number): Promise<unknown[]> => {
    while (received.length < count) await new Promise<void>((resolve) => (arrived = resolve));
    return received;
  };
  const written = () => new Response(child.stdout as unknown as ReadableStream<Uint8Array>).arrayBuffer();
  return { channel, frames, written };
}

describe("frames that are sent soon", () => {
  const echo = "exec cat <&3 >&3";

  test("keep their place among the others", async () => {
    const { channel, frames } = await channelTo(echo);
    channel.sendSoon("1");
    channel.sendSoon("2");
    channel.send("3");
    channel.sendSoon("4");
    expect(await frames(4)).toEqual([1, 2, 3, 4]);
    channel.sendSoon("5");
    await channel.flush();
    expect(await frames(5)).toEqual([1, 2, 3, 4, 5]);
    channel.close();
  });

  test("come whole and in order when the kernel takes only parts of them", async () => {
    const { channel, frames } = await channelTo(echo);
    const texts = Array.from({ length: 200 }, (_, n) => `${n} ${"x".repeat((n % 7) * 30_000)}`);
    for (const text of texts) channel.sendSoon(JSON.stringify(text));
    expect(await frames(texts.length)).toEqual(texts);
    channel.close();
  });

  test("are written before the channel is closed", async () => {
    const { channel, written } = await channelTo("exec cat <&3");
    channel.sendSoon('"last"');
    channel.close();
    expect(read(Buffer.from(await written()), 1000)).toEqual(["last"]);
  });

  test("are refused alone when they are too large", async () => {
    const { channel, frames } = await channelTo(echo);
    channel.sendSoon("1");
    expect(() => channel.sendSoon(`"${"x".repeat(MAX_FRAME_BYTES)}"`)).toThrow("at most");
    channel.sendSoon("2");
    expect(await frames(2)).toEqual([1, 2]);
    channel.close();
  });
});
