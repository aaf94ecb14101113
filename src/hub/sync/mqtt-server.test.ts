import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mqttTransport } from "../../agent/sync/mqtt-transport.ts";
import { systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { createLogger, silentLogger } from "../../core/logger.ts";
import { BrokerClient } from "../../protocol/mqtt-client.ts";
import { signOpen, signOpened, verifyOpen } from "../../protocol/mqtt-opening.ts";
import { agentTopics } from "../../protocol/mqtt-topics.ts";
import { parseBrokerUrl } from "../../protocol/transport-address.ts";
import { certificatesFolder, removeFolder } from "../../testing/grpc-rig.ts";
import { MemorySessions } from "../../testing/memory-sessions.ts";
import {
  joinMqttHub,
  type Mosquitto,
  type MqttHub,
  startMosquitto,
  startMqttHub,
} from "../../testing/mqtt-rig.ts";
import { createTestCa, type PemPair } from "../../testing/test-ca.ts";
import { helloOf, Rows, takeFrames } from "../../testing/transport-contract.ts";
import { until } from "../../testing/until.ts";

const clock = systemClock();
const ids = systemIds();
const ca = await createTestCa();
const web = await ca.agent("web-01");
const db = await ca.agent("db-01");
const folders: string[] = [];
let sessions: MemorySessions;
let hub: MqttHub;
let warnings: string[];

const log = () =>
  createLogger({ sinks: [{ write: (line) => warnings.push(line) }], level: () => "warn", wall: () => 0 });

async function dial(url: string, pair: PemPair = web, id = "web-01", connectTimeoutMs = 5000) {
  const certificates = await certificatesFolder(ca.certificate, pair);
  folders.push(certificates);
  const transport = mqttTransport({ url, certificates, clock, ids, log: silentLogger(), connectTimeoutMs });
  return await transport.connect(helloOf(id), new AbortController().signal);
}

/** A client of its own at the broker, as an attacker or a listener has one. */
async function client(port: number, seen: [string, Buffer][] = [], pair?: PemPair, id = "eve") {
  return await BrokerClient.connect({
    address: parseBrokerUrl(`${pair ? "mqtts" : "mqtt"}://127.0.0.1:${port}`),
    clientId: pair ? `holdfast-${id}-x` : id,
    ca: ca.certificate,
    identity: pair,
    connectTimeoutMs: 3000,
    onMessage: (topic, payload) => seen.push([topic, payload]),
    onLost: () => seen.push(["lost", Buffer.alloc(0)]),
  });
}

beforeEach(() => {
  sessions = new MemorySessions();
  warnings = [];
});
afterAll(() => Promise.all(folders.map(removeFolder)));

describe("a broker that cannot be trusted", () => {
  let mosquitto: Mosquitto;
  let url: string;
  beforeAll(async () => {
    mosquitto = await startMosquitto();
    url = `mqtt://127.0.0.1:${mosquitto.port}`;
  });
  afterAll(() => mosquitto.stop());
  beforeEach(async () => {
    hub = await joinMqttHub(ca, sessions, mosquitto.port, { log: log() });
  });
  afterEach(() => hub.server.drain());
  const { up, down, presence } = agentTopics("web-01");

  test("reads nothing, and what it sends again, alters or makes up changes nothing", async () => {
    const seen: [string, Buffer][] = [];
    const eve = await client(mosquitto.port, seen);
    await eve.subscribe(["#"]);
    const session = await dial(url);
    const rows = new Rows();
    await session.send(rows.frame(3));
    await takeFrames(session, 1);
    await until("the row is seen", () => seen.filter(([topic]) => topic === up).length >= 3);
    for (const word of ["row 1", "epoch-1", "role", "hub-under-test"]) {
      expect(Buffer.concat(seen.map(([, payload]) => payload)).includes(word)).toBe(false);
    }
    const sealed = seen
      .filter(([topic, payload]) => topic === up && payload[0] === 0xd0)
      .map(([, payload]) => payload);
    expect(sealed.length).toBeGreaterThanOrEqual(2);
    for (const message of sealed) {
      await eve.publish(up, message);
      const altered = Buffer.from(message);
      altered[altered.length - 20]! ^= 1;
      await eve.publish(up, altered);
      await eve.publish(agentTopics("db-01").up, message);
    }
    const onward = Buffer.from(sealed.at(-1)!);
    // The number stands, readable, at the end of the protected header: a later one was not sealed by the agent.
    onward[onward.indexOf(Buffer.from([0x06, 0x48])) + 9]! += 5;
    await eve.publish(up, onward);
    for (const junk of [Buffer.alloc(0), Buffer.from("junk"), Buffer.alloc(70_000, 0x9f)])
      await eve.publish(up, junk);
    await eve.publish(down, Buffer.from("junk"));
    await eve.publish(down, seen.find(([topic, payload]) => topic === down && payload[0] === 0xd0)![1]);

    await until("all are counted", () => hub.server.dropped("replayed") >= 2 * sealed.length);
    await until("the number is counted", () => hub.server.dropped("forged") >= 1);
    await until("those of nobody are counted", () => hub.server.dropped("other session") >= sealed.length);
    await until("junk is counted", () => hub.server.dropped("opening") >= 3);
    await session.send(rows.frame(2));
    await takeFrames(session, 1);
    expect(sessions.bodies(2)).toHaveLength(5);
    expect(sessions.duplicates).toBe(0);
    expect(warnings.join("\n")).toContain("a message was dropped (replayed)");
    session.close();
    await session.closed;
    await eve.end();
  }, 20_000);

  test("cannot end a session by saying that the agent is gone, or the hub has no such session", async () => {
    const eve = await client(mosquitto.port);
    const session = await dial(url);
    await eve.publish(presence, "offline");
    await eve.publish(down, "no session");
    await Bun.sleep(3300);
    await session.send(new Rows().frame(1));
    expect(await takeFrames(session, 1)).toHaveLength(1);
    expect(hub.server.connections()).toBe(1);
    session.close();
    await eve.end();
  }, 15_000);

  test("an old opening that is sent again opens nothing that can be used", async () => {
    const seen: [string, Buffer][] = [];
    const eve = await client(mosquitto.port, seen);
    await eve.subscribe([up]);
    const session = await dial(url);
    const [, opening] = seen.find(([, payload]) => payload[0] === 0xd2)!;
    await eve.publish(up, opening);
    await until("two are open", () => hub.server.connections() === 2);
    for (let n = 0; n < 20; n++) await eve.publish(up, opening);
    const newer = await dial(url);
    await until("the older is replaced", () => hub.server.connections() <= 4);
    expect(await session.closed).toMatchObject({ code: "conflict" });
    await newer.send(new Rows().frame(1));
    expect(await takeFrames(newer, 1)).toHaveLength(1);
    expect(sessions.hellos).toHaveLength(2);
    newer.close();
    await eve.end();
  });

  const day = 86_400_000;
  test.each([
    ["of another CA", async () => (await createTestCa()).agent("web-01"), "not of this hub's CA"],
    [
      "that expired",
      () =>
        ca.agent("web-01", {
          notBefore: new Date(Date.now() - 9 * day),
          notAfter: new Date(Date.now() - day),
        }),
      "expired on",
    ],
    ["of a server", () => ca.agent("web-01", { usage: "server" }), "not made for an agent"],
  ])("a certificate %s is refused, and the agent is told", async (_what, make, text) => {
    const error = await dial(url, await make()).catch((thrown) => thrown);
    expect(error).toMatchObject({ code: "unauthenticated" });
    expect(error.message).toContain(text);
    expect(hub.server.dropped("opening")).toBe(1);
    expect(sessions.hellos).toEqual([]);
  });

  test("an opening in another agent's topic, and one with another's certificate", async () => {
    const eve = await client(mosquitto.port);
    const identity = {
      certificate: new X509Certificate(db.certificate),
      privateKey: createPrivateKey(db.key),
    };
    await eve.publish(up, signOpen({ agentId: "db-01", nonce: Buffer.alloc(32) }, identity));
    await eve.publish(up, signOpen({ agentId: "web-01", nonce: Buffer.alloc(32) }, identity));
    const stolen = { ...identity, certificate: new X509Certificate(web.certificate) };
    await eve.publish(up, signOpen({ agentId: "web-01", nonce: Buffer.alloc(32) }, stolen));
    await until("all three are refused", () => hub.server.dropped("opening") === 3);
    expect(hub.server.connections()).toBe(0);
    await eve.end();
  });

  test("who answers as the hub is not believed: not an agent, nor a server of another CA", async () => {
    await hub.server.drain();
    const seen: [string, Buffer][] = [];
    const eve = await client(mosquitto.port, seen);
    await eve.subscribe([up]);
    const dialling = dial(url, web, "web-01", 1500).catch((thrown) => thrown);
    await until("the opening", () => seen.length > 0);
    const { open } = verifyOpen(seen[0]![1], () => {});
    const server = await (await createTestCa("test hub")).server(["hub"]);
    for (const pair of [db, web, server]) {
      const identity = {
        certificate: new X509Certificate(pair.certificate),
        privateKey: createPrivateKey(pair.key),
      };
      for (const code of ["", "denied"]) {
        const answer = {
          agentId: "web-01",
          agentNonce: open.nonce,
          nonce: Buffer.alloc(32),
          code,
          message: "no",
        };
        await eve.publish(down, signOpened(answer, identity));
      }
    }
    const error = await dialling;
    expect(error).toMatchObject({ code: "unreachable" });
    expect(error.message).toContain("no hub answered");
    await eve.end();
  });

  test("openings come at a rate", async () => {
    await hub.server.drain();
    hub = await joinMqttHub(ca, sessions, mosquitto.port, {
      openings: { perSecond: 0.001, burst: 1 },
      log: log(),
    });
    (await dial(url)).close();
    await expect(dial(url, web, "web-01", 700)).rejects.toThrow("no hub answered through the broker");
  });
});

test("a broker that is started anew: the hub comes back to it by itself, and so do sessions", async () => {
  let mosquitto = await startMosquitto();
  hub = await joinMqttHub(ca, sessions, mosquitto.port);
  const url = `mqtt://127.0.0.1:${mosquitto.port}`;
  const session = await dial(url);
  await mosquitto.stop();
  expect(await session.closed).toMatchObject({ by: "network", code: "unreachable" });
  await expect(dial(url)).rejects.toMatchObject({ code: "unreachable" });
  mosquitto = await startMosquitto([], mosquitto.port);
  let again: Awaited<ReturnType<typeof dial>> | undefined;
  const tries = (async () => {
    while (!again) again = await dial(url, web, "web-01", 1000).catch(() => undefined);
  })();
  await until("a session", () => again !== undefined, 15_000);
  await tries;
  await again!.send(new Rows().frame(2));
  expect(await takeFrames(again!, 1)).toHaveLength(1);
  again!.close();
  await hub.server.drain();
  await mosquitto.stop();
}, 30_000);

test("Mosquitto with TLS, the certificate's name as the user, and an access list by it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "holdfast-mqtt-acl-"));
  folders.push(folder);
  const server = await ca.server(["127.0.0.1"]);
  const path = (name: string) => join(folder, name);
  await Promise.all([
    writeFile(path("ca.crt"), ca.certificate),
    writeFile(path("server.crt"), server.certificate),
    writeFile(path("server.key"), server.key),
    writeFile(
      path("acl"),
      "pattern write holdfast/v1/%u/up\npattern read holdfast/v1/%u/down\npattern write holdfast/v1/%u/presence\n" +
        "user hub-01\ntopic readwrite holdfast/v1/#\n",
    ),
  ]);
  const mosquitto = await startMosquitto(
    ["cafile ca.crt", "certfile server.crt", "keyfile server.key"]
      .map((line) => line.replace(/ (.*)/, (_all, name: string) => ` ${path(name)}`))
      .concat("require_certificate true", "use_identity_as_username true", `acl_file ${path("acl")}`),
  );
  hub = await joinMqttHub(ca, sessions, mosquitto.port, { identity: await ca.agent("hub-01") });
  const url = `mqtts://127.0.0.1:${mosquitto.port}`;
  const session = await dial(url);
  await session.send(new Rows().frame(2));
  expect(await takeFrames(session, 1)).toHaveLength(1);
  const eve = await client(mosquitto.port, [], db, "db-01");
  await eve.publish(agentTopics("web-01").up, Buffer.from("junk"));
  expect(hub.server.dropped("opening")).toBe(0);
  session.close();
  await eve.end();
  await hub.server.drain();
  await mosquitto.stop();
}, 20_000);

describe("the broker in the hub", () => {
  beforeEach(async () => {
    hub = await startMqttHub(ca, sessions, { log: log() });
  });
  afterEach(() => hub.server.drain());

  test("lets nobody in without a certificate of an agent", async () => {
    await expect(client(hub.port)).rejects.toMatchObject({ code: "unreachable" });
    const stranger = await (await createTestCa()).agent("web-01");
    await expect(client(hub.port, [], stranger, "web-01")).rejects.toMatchObject({ code: "unreachable" });
    await expect(
      client(hub.port, [], await ca.agent("web-01", { usage: "server" }), "web-01"),
    ).rejects.toMatchObject({
      code: "unreachable",
    });
  });

  test("keeps agents to their own topics and client ids", async () => {
    const session = await dial(`mqtts://127.0.0.1:${hub.port}`);
    await expect(client(hub.port, [], db, "web-01")).rejects.toMatchObject({ code: "unreachable" });
    for (const topic of [agentTopics("web-01").down, "#", "holdfast/v1/+/down", "$SYS/#"]) {
      const seen: [string, Buffer][] = [];
      const reader = await client(hub.port, seen, db, "db-01");
      void reader.subscribe([topic]).catch(() => seen.push(["refused", Buffer.alloc(0)]));
      await until(`${topic} is refused`, () => seen.length > 0);
      reader.drop();
    }
    for (const topic of [
      agentTopics("web-01").up,
      agentTopics("web-01").presence,
      agentTopics("db-01").down,
      "x",
    ]) {
      const seen: [string, Buffer][] = [];
      const writer = await client(hub.port, seen, db, "db-01");
      void writer.publish(topic, "junk").catch(() => {});
      await until(`writing to ${topic} is refused`, () => seen.length > 0);
      writer.drop();
    }
    expect(warnings.filter((line) => line.includes("the broker refused"))).toHaveLength(8);
    await session.send(new Rows().frame(1));
    expect(await takeFrames(session, 1)).toHaveLength(1);
    session.close();
  });

  test("a packet over the limit ends the connection before it is whole", async () => {
    const seen: [string, Buffer][] = [];
    const writer = await client(hub.port, seen, web, "web-01");
    void writer.publish(agentTopics("web-01").up, Buffer.alloc(16 << 20)).catch(() => {});
    await until("it is ended", () => seen.length > 0);
    expect(warnings.join("\n")).toContain("a packet over the limit was refused");
    writer.drop();
  });

  test("an agent has few connections at a time", async () => {
    const open = [];
    for (let n = 0; n < 4; n++) open.push(await client(hub.port, [], web, `web-01-${n}`));
    await expect(client(hub.port, [], web, "web-01-5")).rejects.toMatchObject({ code: "unreachable" });
    for (const each of open) await each.end();
  });
});
