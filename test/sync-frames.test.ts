/**
 * Versions that meet: frames that the first version wrote, kept as bytes (test/fixtures/sync-v1), and frames of versions that
 * do not exist yet.
 */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createOutbox } from "../src/agent/outbox/outbox.ts";
import { grpcTransport } from "../src/agent/sync/grpc-transport.ts";
import { ReceiptBook } from "../src/agent/sync/receipt-book.ts";
import { Sync } from "../src/agent/sync/sync.ts";
import { systemClock } from "../src/core/clock.ts";
import { systemIds } from "../src/core/ids.ts";
import { silentLogger } from "../src/core/logger.ts";
import type { SyncServer } from "../src/hub/sync/grpc-server.ts";
import type { HostFacts } from "../src/model/agent-status.ts";
import { AgentFrame, HubFrame } from "../src/protocol/gen/holdfast/v1/sync.ts";
import { certificatesFolder, removeFolder, startTestServer } from "../src/testing/grpc-rig.ts";
import { MemoryOutboxStore } from "../src/testing/memory-outbox-store.ts";
import { type RawHub, rawAgent, rawHub, type RawStream } from "../src/testing/raw-frames.ts";
import { receiptFolder, ReceiptHub } from "../src/testing/receipt-rig.ts";
import { createTestCa } from "../src/testing/test-ca.ts";
import { until } from "../src/testing/until.ts";

const FIXTURES = join(import.meta.dir, "fixtures/sync-v1");
const EVENTS = 2;

/** A frame as the first version wrote it. */
function first(name: string): Buffer<ArrayBuffer> {
  const text = readFileSync(join(FIXTURES, `${name}.hex`), "utf8");
  return Buffer.from(text.replaceAll("\n", ""), "hex");
}

/** A field of a version that does not exist yet: length-delimited, of any number. */
function field(number: number, payload: Uint8Array): Buffer {
  const tag: number[] = [];
  for (let rest = (number << 3) | 2; ; rest >>>= 7) {
    tag.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest <= 127) break;
  }
  return Buffer.concat([Buffer.from(tag), Buffer.of(payload.length), payload]);
}

const future = (...numbers: number[]) => numbers.map((number) => field(number, Buffer.from("telepathy")));

describe("frames of the first version", () => {
  const agentFrames = ["agent-hello", "agent-heartbeat", "agent-records", "agent-error"];
  const hubFrames = ["hub-welcome", "hub-welcome-back", "hub-ack", "hub-gap", "hub-error"];
  test.each(agentFrames)("%s is read, and written, byte for byte, as it was", (name) => {
    const frame = AgentFrame.decode(first(name));
    expect(`agent-${frame.frame!.$case}`).toBe(name);
    expect(Buffer.from(AgentFrame.encode(frame).finish())).toEqual(first(name));
  });
  test.each(hubFrames)("%s is read, and written, byte for byte, as it was", (name) => {
    const frame = HubFrame.decode(first(name));
    expect(Buffer.from(HubFrame.encode(frame).finish())).toEqual(first(name));
  });
  test("have nothing to say of what came later", () => {
    const { frame } = HubFrame.decode(first("hub-welcome"));
    expect(frame!.value).toMatchObject({ receiptCertificates: [], backlogBytesPerSecond: 0n });
    expect(HubFrame.decode(first("hub-ack")).frame!.value).toMatchObject({ receipt: undefined });
    const records = AgentFrame.decode(first("agent-records")).frame!.value;
    expect(records).toMatchObject({ zstd: Buffer.alloc(0) });
  });
});

const ca = await createTestCa();
const own = await ca.agent("web-01");
const server = await ca.server(["localhost", "127.0.0.1"]);

describe("a hub of this version", () => {
  let folder: ReturnType<typeof receiptFolder>;
  let hub: ReceiptHub;
  let sync: SyncServer;
  let agent: RawStream;
  beforeEach(async () => {
    folder = receiptFolder();
    hub = await ReceiptHub.start(folder.path("hub.db"));
    sync = await startTestServer(ca, hub.sessions);
    agent = rawAgent(sync.port, ca.certificate, own);
  });
  afterEach(async () => {
    agent.end();
    await sync.drain();
    await hub.store.close();
    folder.remove();
  });

  const answers = () => agent.received.map((bytes) => HubFrame.decode(bytes).frame!);

  test("serves an agent that knows the first version only", async () => {
    agent.send(first("agent-hello"));
    agent.send(first("agent-heartbeat"));
    agent.send(first("agent-records"));
    agent.send(first("agent-error"));
    await until("the ack", () => agent.received.length === 2);
    expect(answers().map(({ $case }) => $case)).toEqual(["welcome", "ack"]);
    // The whole ack, to the byte: nothing in it that the first version has not written.
    expect(agent.received[1]).toEqual(first("hub-ack"));
    const [stream] = await hub.store.agentStreams("web-01");
    expect(stream).toMatchObject({ epoch: "epoch-1", lane: EVENTS, number: 3 });
    expect(sync.ignoredFrames()).toBe(0);
  });

  test("acknowledges nothing in advance to an agent that takes no receipts", async () => {
    agent.send(first("agent-hello"));
    agent.send(first("agent-records"));
    await until("the ack", () => agent.received.length === 2);
    const again = rawAgent(sync.port, ca.certificate, own);
    again.send(first("agent-hello"));
    again.send(first("agent-records"));
    await until("the ack of what was there", () => again.received.length === 2);
    expect(HubFrame.decode(again.received[0]!).frame!.value).toMatchObject({ cursors: [{ number: 3n }] });
    expect(again.received[1]).toEqual(first("hub-ack"));
    again.end();
  });

  test("passes over frames, fields and capabilities that it does not know", async () => {
    const hello = AgentFrame.decode(first("agent-hello"));
    if (hello.frame?.$case !== "hello") throw new Error("no hello");
    hello.frame.value.capabilities = ["telepathy", "receipts", ...Array.from({ length: 500 }, () => "x")];
    agent.send(Buffer.concat([AgentFrame.encode(hello).finish(), field(77, Buffer.from("more"))]));
    for (const frame of future(13, 14, 99, 5000)) agent.send(frame);
    // In `records` itself too, behind what is known of it.
    const records = first("agent-records");
    const inner = Buffer.concat([records.subarray(2), field(99, Buffer.from("more"))]);
    agent.send(Buffer.concat([records.subarray(0, 1), Buffer.of(inner.length), inner]));
    await until("the ack", () => agent.received.length === 2);
    const [welcome, ack] = answers();
    expect(welcome!.$case).toBe("welcome");
    expect(ack!.value).toMatchObject({ cursor: { number: 3n }, receipt: { certificate: Buffer.alloc(0) } });
    expect(sync.ignoredFrames()).toBe(4);
  });

  test("keeps classes that it does not know as they are", async () => {
    const records = AgentFrame.decode(first("agent-records"));
    if (records.frame?.$case !== "records") throw new Error("no records");
    const { prevHash } = records.frame.value;
    const { chainHashes } = await import("../src/protocol/chain.ts");
    const body = Buffer.from("of a class to come");
    records.frame.value.records = [{ class: 200, body }];
    records.frame.value.lastHash = Buffer.from(
      chainHashes(prevHash, [{ number: 1, class: 200, body }]).at(-1)!,
    );
    agent.send(first("agent-hello"));
    agent.send(AgentFrame.encode(records).finish());
    await until("the ack", () => agent.received.length === 2);
    expect(answers()[1]!.value).toMatchObject({ cursor: { number: 1n } });
  });
});

describe("an agent of this version", () => {
  let certificates: string;
  let store: MemoryOutboxStore;
  let hub: RawHub | undefined;
  let running: { sync: Sync; stop: () => Promise<void> } | undefined;
  beforeEach(async () => {
    certificates = await certificatesFolder(ca.certificate, own);
    store = new MemoryOutboxStore();
  });
  afterEach(async () => {
    await running?.stop();
    hub?.stop();
    await removeFolder(certificates);
  });

  /** A hub that answers each kind of frame with these bytes. */
  async function meet(answer: (kind: string) => Buffer[]): Promise<{ sync: Sync; heard: Buffer[] }> {
    const heard: Buffer[] = [];
    hub = await rawHub(ca.certificate, server, (bytes, stream) => {
      heard.push(bytes);
      for (const each of answer(AgentFrame.decode(bytes).frame?.$case ?? "unknown")) stream.send(each);
    });
    const url = `grpcs://127.0.0.1:${hub.port}`;
    const [clock, log] = [systemClock(), silentLogger()];
    const receiptStore = { receipts: async () => [], keepReceiptCertificates: async () => {} };
    const sync = new Sync({
      transport: grpcTransport({ url, certificates, clock }),
      outbox: createOutbox({ store, log }),
      agent: { id: "web-01", labels: { role: "web" } },
      facts: () => ({ hostname: "h" }) as HostFacts,
      status: () => ({ ok: true }),
      receipts: new ReceiptBook({
        ...{ agent: "web-01", store: receiptStore, authority: async () => ca.certificate, log },
      }),
      ...{ heartbeatMs: 60_000, clock, ids: systemIds(), log },
      backoff: { kind: "exponential", initialMs: 5, maxMs: 20 },
    });
    const abort = new AbortController();
    const done = sync.run(abort.signal);
    running = {
      sync,
      stop: async () => {
        abort.abort(new Error("stopping"));
        await done;
      },
    };
    return { sync, heard };
  }

  const acknowledged = async () => (await store.streams())[0]!.acknowledged;
  const says = (welcome: Buffer[], ack: Buffer[]) => (kind: string) =>
    kind === "hello" ? welcome : kind === "records" ? ack : [];

  test("works with a hub that knows the first version only", async () => {
    store.append(EVENTS, "row 1", "row 2", "row 3");
    const { sync, heard } = await meet(says([first("hub-welcome")], [first("hub-ack")]));
    await until("all is acknowledged", () => sync.status().lagRows === 0 && heard.length >= 3);
    expect(await acknowledged()).toBe(3);
    const kinds = heard.map((bytes) => AgentFrame.decode(bytes).frame!.$case);
    // To the byte what the first version would have sent.
    expect(heard[kinds.indexOf("records")]).toEqual(first("agent-records"));
    expect(sync.status()).toMatchObject({ state: "online", receipts: {}, reconnects: 0 });
    expect(sync.status().counts).toMatchObject({ receiptsWrong: 0, unknownFrames: 0 });
  });

  test("goes on after the cursor and back to a gap, as the first version does", async () => {
    store.append(EVENTS, "row 1", "row 2", "row 3");
    let gaps = 0;
    const answer = says([first("hub-welcome-back")], []);
    const { sync, heard } = await meet((kind) =>
      kind === "records" ? [first(gaps++ === 0 ? "hub-gap" : "hub-ack")] : answer(kind),
    );
    await until("all is acknowledged", () => sync.status().lagRows === 0 && gaps > 1);
    const sent = heard.map((bytes) => AgentFrame.decode(bytes).frame!).filter((f) => f.$case === "records");
    expect(sent.map(({ value }) => value.first)).toEqual([3n, 1n]);
  });

  test("passes over frames, fields and capabilities that it does not know, and counts them", async () => {
    store.append(EVENTS, "row 1", "row 2", "row 3");
    const welcome = HubFrame.decode(first("hub-welcome"));
    if (welcome.frame?.$case !== "welcome") throw new Error("no welcome");
    welcome.frame.value.capabilities = ["telepathy", "toString", "__proto__"];
    const bytes = Buffer.concat([HubFrame.encode(welcome).finish(), field(99, Buffer.from("more"))]);
    const ack = Buffer.concat([first("hub-ack"), field(2000, Buffer.from("more"))]);
    const { sync, heard } = await meet(says([bytes, ...future(3, 14, 99)], [ack]));
    await until("all is acknowledged", () => sync.status().lagRows === 0 && heard.length >= 3);
    expect(await acknowledged()).toBe(3);
    expect(sync.status().counts.unknownFrames).toBe(3);
    expect(sync.status()).toMatchObject({ state: "online", lastError: null, reconnects: 0 });
  });
});
