/** Frames that nobody would write, to hub and agent: neither falls over, each stream ends with a reason or goes on. */
import { afterAll, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createOutbox } from "../src/agent/outbox/outbox.ts";
import { grpcTransport } from "../src/agent/sync/grpc-transport.ts";
import { Sync } from "../src/agent/sync/sync.ts";
import { systemClock } from "../src/core/clock.ts";
import { systemIds } from "../src/core/ids.ts";
import { silentLogger } from "../src/core/logger.ts";
import type { HostFacts } from "../src/model/agent-status.ts";
import { AgentFrame, HubFrame } from "../src/protocol/gen/holdfast/v1/sync.ts";
import { certificatesFolder, removeFolder, startTestServer } from "../src/testing/grpc-rig.ts";
import { MemoryOutboxStore } from "../src/testing/memory-outbox-store.ts";
import { rawAgent, rawHub } from "../src/testing/raw-frames.ts";
import { receiptFolder, ReceiptHub } from "../src/testing/receipt-rig.ts";
import { Seeded } from "../src/testing/seeded.ts";
import { createTestCa } from "../src/testing/test-ca.ts";
import { until } from "../src/testing/until.ts";

const FIXTURES = join(import.meta.dir, "fixtures/sync-v1");
const SESSIONS = 150;
const EVENTS = 2;
const folder = receiptFolder();
afterAll(() => folder.remove());
const ca = await createTestCa();
const own = await ca.agent("web-01");

const frames = new Map(
  readdirSync(FIXTURES)
    .filter((name) => name.endsWith(".hex"))
    .map((name) => [
      name.replace(".hex", ""),
      Buffer.from(readFileSync(join(FIXTURES, name), "utf8").replaceAll("\n", ""), "hex"),
    ]),
);
/** Without the one that asks for five seconds' patience. */
const named = (side: string) =>
  [...frames.keys()].filter((name) => name.startsWith(side) && name !== "hub-error");

/** Flipped, cut, doubled, put together wrongly, or nothing but noise. */
function spoiled(random: Seeded, side: string): Buffer {
  const frame = Buffer.from(frames.get(random.pick(named(side)))!);
  const at = random.int(0, frame.length - 1);
  switch (random.int(0, 4)) {
    case 0:
      frame[at]! ^= 1 << random.int(0, 7);
      return frame;
    case 1:
      return frame.subarray(0, at);
    case 2:
      return Buffer.concat([frame, frames.get(random.pick(named(side)))!]);
    case 3:
      return Buffer.concat([frame.subarray(0, at), Buffer.of(random.int(0, 255)), frame.subarray(at)]);
    default:
      return Buffer.from(Array.from({ length: random.int(0, 200) }, () => random.int(0, 255)));
  }
}

test("to the hub", async () => {
  const hub = await ReceiptHub.start(folder.path("hub.db"));
  const server = await startTestServer(ca, hub.sessions, { helloTimeoutMs: 1000 });
  const random = new Seeded(7);
  const reasons = new Map<string, number>();
  for (let session = 0; session < SESSIONS; session++) {
    const agent = rawAgent(server.port, ca.certificate, own);
    agent.send(random.chance(0.8) ? frames.get("agent-hello")! : spoiled(random, "agent"));
    for (let frame = random.int(1, 5); frame > 0; frame--) agent.send(spoiled(random, "agent"));
    agent.end();
    await until(`session ${session} is over`, () => agent.ended() !== null, 10_000);
    const code = agent.ended()!.split(" ")[0]!;
    reasons.set(code, (reasons.get(code) ?? 0) + 1);
  }
  // It ends well, or is told what was wrong (invalid, denied, internal for what is no protobuf at all).
  expect([...reasons.keys()].filter((code) => !["0", "3", "7", "8", "13"].includes(code))).toEqual([]);
  expect(reasons.size).toBeGreaterThan(1);

  await until("no session is left", () => server.connections() === 0);
  const agent = rawAgent(server.port, ca.certificate, own);
  const hello = AgentFrame.decode(frames.get("agent-hello")!);
  if (hello.frame?.$case === "hello") hello.frame.value.epoch = "epoch-2";
  const records = AgentFrame.decode(frames.get("agent-records")!);
  if (records.frame?.$case === "records") records.frame.value.epoch = "epoch-2";
  agent.send(AgentFrame.encode(hello).finish());
  agent.send(AgentFrame.encode(records).finish());
  await until("the hub serves on", () => agent.received.length === 2);
  expect(HubFrame.decode(agent.received[1]!).frame!.$case).toBe("ack");
  agent.end();
  await server.drain();
  await hub.store.close();
}, 120_000);

test("to the agent", async () => {
  const store = new MemoryOutboxStore();
  store.append(EVENTS, "row 1", "row 2", "row 3");
  const random = new Seeded(11);
  const certificates = await certificatesFolder(ca.certificate, own);
  let sessions = 0;
  let epoch = "";
  const hub = await rawHub(ca.certificate, await ca.server(["127.0.0.1"]), (bytes, stream) => {
    const { frame } = AgentFrame.decode(bytes);
    if (frame?.$case !== "hello") return;
    epoch = frame.value.epoch;
    sessions++;
    stream.send(random.chance(0.8) ? frames.get("hub-welcome")! : spoiled(random, "hub"));
    for (let count = random.int(1, 5); count > 0; count--) stream.send(spoiled(random, "hub"));
    stream.end();
  });
  const [clock, log] = [systemClock(), silentLogger()];
  const sync = new Sync({
    transport: grpcTransport({ url: `grpcs://127.0.0.1:${hub.port}`, certificates, clock }),
    outbox: createOutbox({ store, log }),
    agent: { id: "web-01", labels: {} },
    facts: () => ({ hostname: "h" }) as HostFacts,
    status: () => ({}),
    ...{ heartbeatMs: 60_000, clock, ids: systemIds(), log },
    backoff: { kind: "exponential", initialMs: 1, maxMs: 2 },
  });
  const abort = new AbortController();
  let over = false;
  const running = sync.run(abort.signal).finally(() => (over = true));
  await until("many sessions", () => sessions >= SESSIONS || over, 60_000);
  expect(over).toBe(false);
  expect(epoch).toStartWith("epoch-");
  abort.abort(new Error("stopping"));
  await running;
  hub.stop();
  await removeFolder(certificates);
}, 120_000);
