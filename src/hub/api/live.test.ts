import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { ADMIN_TOKEN, type HubFixture, hubFixture } from "../../testing/hub-fixture.ts";

let hub: HubFixture;
const clients: Client[] = [];

beforeEach(() => start());
afterEach(async () => {
  for (const client of clients.splice(0)) client.abort();
  await hub.close();
});

async function start(
  live: { keepAliveMs?: number; maxStreams?: number; stallMs?: number } = {},
): Promise<void> {
  hub = await hubFixture({ live });
  await hub.addAgent("a");
  await hub.addAgent("b");
  hub.listen();
}

/** Reads a stream as raw blocks (what lies between blank lines). */
class Client {
  readonly status: number;
  readonly headers: Headers;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #controller: AbortController;
  #text = "";

  constructor(response: Response, controller: AbortController) {
    this.status = response.status;
    this.headers = response.headers;
    this.#reader = response.body!.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    this.#controller = controller;
  }

  static async open(path: string, headers: Record<string, string> = {}): Promise<Client> {
    const controller = new AbortController();
    const response = await fetch(`${hub.url}/api/v1/${path}`, {
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, ...headers },
      signal: controller.signal,
    });
    const client = new Client(response, controller);
    clients.push(client);
    return client;
  }

  /** The next block, or undefined at the end of the stream. */
  async block(): Promise<string | undefined> {
    for (;;) {
      const end = this.#text.indexOf("\n\n");
      if (end >= 0) {
        const block = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        return block;
      }
      const { done, value } = await this.#reader.read();
      if (done) return undefined;
      this.#text += new TextDecoder().decode(value);
    }
  }

  /** The next row: id, name and data. */
  async row(): Promise<{ id: number; name: string; data: any }> {
    for (;;) {
      const block = await this.block();
      if (block === undefined) throw new Error("the stream ended");
      const data = /^data: (.*)$/m.exec(block)?.[1];
      if (!data) continue;
      const name = /^event: (.*)$/m.exec(block)![1]!;
      return { id: Number(/^id: (\d+)$/m.exec(block)?.[1] ?? -1), name, data: JSON.parse(data) };
    }
  }

  abort(): void {
    this.#controller.abort();
  }
}

describe("events/stream", () => {
  test("starts from now, says retry and where it is, then sends each new event with its number", async () => {
    await hub.addEvent("a", { id: "old" });
    const client = await Client.open("events/stream");
    expect(client.headers.get("content-type")).toStartWith("text/event-stream");
    expect(client.headers.get("x-content-type-options")).toBe("nosniff");
    expect(await client.block()).toBe("retry: 2000\nid: 1");
    await hub.addEvent("a", { id: "new", type: "disk.low", data: { text: "two\nlines" } });
    expect(await client.row()).toMatchObject({
      id: 2,
      name: "event",
      data: { n: 2, id: "new", type: "disk.low", event: { data: { text: "two\nlines" } } },
    });
  });

  test("after=N and Last-Event-ID resume; the header goes first", async () => {
    for (let i = 1; i <= 120; i++) await hub.addEvent("a", { id: `e${i}` });
    const all = await Client.open("events/stream?after=0");
    for (let i = 1; i <= 120; i++) expect((await all.row()).data.id).toBe(`e${i}`);
    const resumed = await Client.open("events/stream?after=0", { "last-event-id": "118" });
    expect((await resumed.row()).id).toBe(119);
    expect((await resumed.row()).id).toBe(120);
    const bad = await Client.open("events/stream", { "last-event-id": "x1" });
    expect(bad.status).toBe(422);
  });

  test("filters apply, and the cursor moves over what they leave out", async () => {
    await hub.close();
    await start({ keepAliveMs: 20 });
    const client = await Client.open("events/stream?agent=b&type=log.line");
    await client.block();
    for (let i = 0; i < 5; i++) await hub.addEvent("a");
    await hub.addEvent("b", { id: "wanted" });
    expect((await client.row()).data.id).toBe("wanted");
    await hub.addEvent("a");
    let block: string | undefined;
    do block = await client.block();
    while (block && !block.includes("id: 7"));
    expect(block).toBe(": keep-alive\nid: 7");
  });

  test("a position of another store is told as a reset, and the stream goes on from now", async () => {
    await hub.addEvent("a");
    const client = await Client.open("events/stream", { "last-event-id": "5000" });
    expect(await client.row()).toMatchObject({ name: "reset", data: { asked: 5000, head: 1 } });
    await hub.addEvent("a", { id: "next" });
    expect((await client.row()).data.id).toBe("next");
  });

  test("many events at once all arrive, in order", async () => {
    const client = await Client.open("events/stream");
    await client.block();
    const sending = Promise.all(Array.from({ length: 500 }, (_, i) => hub.addEvent("a", { id: `e${i}` })));
    for (let i = 0; i < 500; i++) expect((await client.row()).data.id).toBe(`e${i}`);
    await sending;
  });
});

describe("runs/stream", () => {
  test("sends a run each time it changes, as it stands then", async () => {
    const client = await Client.open("runs/stream?pipeline=react");
    await client.block();
    await hub.putRun("a", { id: "01938e5c-0000-7000-8000-000000000001", state: "queued" });
    expect(await client.row()).toMatchObject({ name: "run", id: 1, data: { state: "queued", agent: "a" } });
    await hub.putRun("a", { id: "01938e5c-0000-7000-8000-000000000002", pipeline: "other" });
    await hub.putRun("a", { id: "01938e5c-0000-7000-8000-000000000001", state: "succeeded" });
    expect(await client.row()).toMatchObject({ id: 3, data: { state: "succeeded" } });
  });
});

describe("limits of streams", () => {
  test("a stream above the limit is refused with 429; one that closed gives its place back", async () => {
    await hub.close();
    await start({ maxStreams: 2, keepAliveMs: 20 });
    const first = await Client.open("events/stream");
    const second = await Client.open("runs/stream");
    await Promise.all([first.block(), second.block()]);
    const refused = await Client.open("events/stream");
    expect(refused.status).toBe(429);
    expect(refused.headers.get("retry-after")).toBe("10");
    first.abort();
    let status: number;
    do {
      const again = await Client.open("events/stream");
      status = again.status;
    } while (status === 429);
    expect(status).toBe(200);
  });

  test("closing the API ends the streams", async () => {
    const client = await Client.open("events/stream");
    await client.block();
    hub.api.close();
    expect(await client.block()).toBeUndefined();
  });

  test("a client that does not read is dropped, holding one page until then", async () => {
    await hub.close();
    await start({ maxStreams: 1, stallMs: 100 });
    const data = "x".repeat(200_000);
    for (let i = 0; i < 200; i++) await hub.addEvent("a", { data });
    const idle = await Bun.connect({
      hostname: "127.0.0.1",
      port: Number(new URL(hub.url).port),
      socket: {
        open(socket) {
          const lines = ["GET /api/v1/events/stream?after=0 HTTP/1.1", "host: 127.0.0.1"];
          socket.write([...lines, `authorization: Bearer ${ADMIN_TOKEN}`, "", ""].join("\r\n"));
          socket.pause();
        },
        data() {},
      },
    });
    let refusals = 0;
    for (;;) {
      const response = await fetch(`${hub.url}/api/v1/runs/stream`, {
        headers: { authorization: `Bearer ${ADMIN_TOKEN}` },
      });
      const { status } = response;
      await response.body?.cancel();
      if (status === 429) refusals++;
      else if (refusals > 0) break;
      await Bun.sleep(10);
    }
    expect(refusals).toBeGreaterThan(0);
    idle.terminate();
  });

  test("a HEAD takes no place", async () => {
    await hub.close();
    await start({ maxStreams: 1 });
    for (let i = 0; i < 3; i++) {
      expect((await hub.request("/api/v1/events/stream", { method: "HEAD" })).status).toBe(200);
    }
    const client = await Client.open("events/stream");
    expect(await client.block()).toContain("retry");
  });
});
