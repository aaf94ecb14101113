import { describe, expect, test } from "bun:test";
import { readSse, type SseMessage } from "./sse.ts";

async function* chunks(parts: string[]): AsyncGenerator<Uint8Array> {
  for (const part of parts) yield new TextEncoder().encode(part);
}

async function read(parts: string[]) {
  const ids: string[] = [];
  const retries: number[] = [];
  const messages: SseMessage[] = [];
  const hooks = { onId: (id: string) => ids.push(id), onRetry: (ms: number) => retries.push(ms) };
  for await (const message of readSse(chunks(parts), hooks)) messages.push(message);
  return { ids, retries, messages };
}

const TEXT =
  ": hello\nretry: 250\nid: 1\n\nid: 2\nevent: run\ndata: {\ndata:}\n\ndata: plain\n\n: x\nid: 9\n\n";
const WANTED = {
  ids: ["1", "2", "2", "9"],
  retries: [250],
  messages: [
    { id: "2", event: "run", data: "{\n}" },
    { id: "2", event: "message", data: "plain" },
  ],
};

describe("server-sent events", () => {
  test.each([
    ["as one piece", [TEXT]],
    ["one character at a time", [...TEXT]],
    ["with CRLF", [TEXT.replaceAll("\n", "\r\n")]],
    ["with CRLF, one character at a time", [...TEXT.replaceAll("\n", "\r\n")]],
    ["with CR", [TEXT.replaceAll("\n", "\r"), ":"]],
  ])("%s", async (_name, parts) => {
    expect(await read(parts)).toEqual(WANTED);
  });

  test("a message that is cut off is not given out", async () => {
    expect((await read(["id: 4\ndata: whole\n\nid: 5\ndata: ha"])).messages).toHaveLength(1);
  });

  test("characters of several bytes may be cut anywhere", async () => {
    const bytes = new TextEncoder().encode("data: Grüße 🌊\n\n");
    const single = async function* () {
      for (const byte of bytes) yield new Uint8Array([byte]);
    };
    const messages: string[] = [];
    for await (const message of readSse(single())) messages.push(message.data);
    expect(messages).toEqual(["Grüße 🌊"]);
  });

  test("a line without end is refused before it fills the memory", async () => {
    const endless = async function* () {
      for (;;) yield new Uint8Array(1024 * 1024).fill(97);
    };
    const reading = (async () => {
      for await (const _ of readSse(endless()));
    })();
    await expect(reading).rejects.toMatchObject({ code: "too_large" });
  });
});
