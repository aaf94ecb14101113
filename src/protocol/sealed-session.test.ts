import { createPrivateKey, X509Certificate } from "node:crypto";
import { describe, expect, test } from "bun:test";
import { pythonPeer } from "../testing/cose-peer.ts";
import { createTestCa, type PemPair } from "../testing/test-ca.ts";
import { decodeCbor, encodeCbor, encodeTagged } from "./cbor.ts";
import { agentTopics } from "./mqtt-topics.ts";
import { type Open, signOpen, signOpened, verifyOpen, verifyOpened } from "./mqtt-opening.ts";
import { DroppedMessage, Opener, Sealer, sessionKeys } from "./sealed-session.ts";

const ca = await createTestCa();
const agentPair = await ca.agent("web-01");
const hubPair = await ca.server(["hub.example"]);
const nonces = { agent: Buffer.alloc(32, 1), hub: Buffer.alloc(32, 2) };
const hex = (data: Uint8Array) => Buffer.from(data).toString("hex");
const unhex = (text: string) => Buffer.from(text, "hex");
const identity = ({ certificate, key }: PemPair) => ({
  certificate: new X509Certificate(certificate),
  privateKey: createPrivateKey(key),
});

function sides(agentNonce: Uint8Array = nonces.agent, id = "web-01", pair = agentPair) {
  const [agent, hub] = [identity(pair), identity(hubPair)];
  const parties = {
    agentId: id,
    agent: { certificate: agent.certificate, nonce: agentNonce },
    hub: { certificate: hub.certificate, nonce: nonces.hub },
  };
  const ofAgent = sessionKeys(
    parties,
    { privateKey: agent.privateKey, peer: hub.certificate },
    agentTopics(id),
  );
  const ofHub = sessionKeys(
    parties,
    { privateKey: hub.privateKey, peer: agent.certificate },
    agentTopics(id),
  );
  return {
    ofAgent,
    ofHub,
    up: new Sealer(ofAgent.id, ofAgent.up, agent.privateKey),
    down: new Sealer(ofHub.id, ofHub.down, hub.privateKey),
    hubOpener: new Opener(ofHub.id, ofHub.up, agent.certificate.publicKey),
    agentOpener: new Opener(ofAgent.id, ofAgent.down, hub.certificate.publicKey),
  };
}

const python = (role: "agent" | "hub", more: object) =>
  pythonPeer({
    session: {
      role,
      agentId: "web-01",
      agentCertificate: agentPair.certificate,
      hubCertificate: hubPair.certificate,
      key: role === "agent" ? agentPair.key : hubPair.key,
      agentNonce: hex(nonces.agent),
      hubNonce: hex(nonces.hub),
    },
    ...more,
  });

function reasonOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof DroppedMessage) return error.reason;
    throw error;
  }
  return "taken";
}

describe("against a peer in Python", () => {
  const payloads = [encodeCbor(new Map([[1, "first"]])), encodeCbor([2n ** 60n, Buffer.from("bytes"), -5])];

  test("both sides name the session alike, and Python reads what we seal", async () => {
    const { up, ofAgent } = sides();
    const answer = await python("hub", { messages: payloads.map((each) => hex(up.seal(each))) });
    expect(answer.id).toBe(hex(ofAgent.id));
    expect(answer.received).toEqual([
      { number: 1, payload: { 1: "first" } },
      { number: 2, payload: [2 ** 60, { hex: hex(Buffer.from("bytes")) }, -5] },
    ]);
  });

  test("we read what Python seals", async () => {
    const asAgent = await python("agent", { payloads: payloads.map(hex) });
    const { hubOpener, agentOpener } = sides();
    expect(asAgent.sent.map((each: string) => hex(hubOpener.open(unhex(each))))).toEqual(payloads.map(hex));
    const asHub = await python("hub", { payloads: payloads.map(hex) });
    expect(asHub.sent.map((each: string) => hex(agentOpener.open(unhex(each))))).toEqual(payloads.map(hex));
  });

  test("openings, both ways", async () => {
    const ours = signOpen({ agentId: "web-01", nonce: nonces.agent }, identity(agentPair));
    const theirs = { agentId: "web-01", nonce: hex(nonces.agent), ...agentPair };
    const answer = await pythonPeer({ opening: hex(ours), context: "holdfast mqtt v1 open", open: theirs });
    expect(answer.opening).toEqual({
      payload: { 1: "web-01", 2: { hex: hex(nonces.agent) } },
      subject: "CN=web-01",
    });
    const { open, certificate } = verifyOpen(unhex(answer.open), () => {});
    expect(open).toEqual({ agentId: "web-01", nonce: nonces.agent });
    expect(certificate.subject).toBe("CN=web-01");
  });
});

describe("what is dropped", () => {
  const payload = encodeCbor("hello");

  test("a message altered anywhere", () => {
    const { up } = sides();
    const message = up.seal(payload);
    for (let index = 0; index < message.length; index++) {
      const altered = Buffer.from(message);
      altered[index]! ^= 0x01;
      expect(["malformed", "other session", "replayed", "forged"]).toContain(
        reasonOf(() => sides().hubOpener.open(altered)),
      );
    }
    expect(hex(sides().hubOpener.open(message))).toBe(hex(payload));
  });

  test("one that comes twice, or later than its turn; and a gap is told apart", () => {
    const { up, hubOpener } = sides();
    const messages = Array.from({ length: 4 }, () => up.seal(payload));
    hubOpener.open(messages[0]!);
    expect(reasonOf(() => hubOpener.open(messages[0]!))).toBe("replayed");
    expect(reasonOf(() => hubOpener.open(messages[2]!))).toBe("missing before");
    expect(reasonOf(() => hubOpener.open(messages[1]!))).toBe("taken");
    expect(reasonOf(() => hubOpener.open(messages[0]!))).toBe("replayed");
  });

  test("one of another session of the same two, and one in the other direction", () => {
    expect(reasonOf(() => sides().hubOpener.open(sides(Buffer.alloc(32, 9)).up.seal(payload)))).toBe(
      "other session",
    );
    expect(reasonOf(() => sides().hubOpener.open(sides().down.seal(payload)))).toBe("forged");
    expect(reasonOf(() => sides().agentOpener.open(sides().up.seal(payload)))).toBe("forged");
  });

  test("one under the session's keys that the certificate's key did not sign", async () => {
    const { ofAgent, hubOpener } = sides();
    const other = identity(await ca.agent("web-01"));
    expect(
      reasonOf(() => hubOpener.open(new Sealer(ofAgent.id, ofAgent.up, other.privateKey).seal(payload))),
    ).toBe("forged");
  });

  test("another agent's", async () => {
    const other = sides(nonces.agent, "db-01", await ca.agent("db-01"));
    expect(reasonOf(() => sides().hubOpener.open(other.up.seal(payload)))).toBe("other session");
  });

  test("what is no message at all", () => {
    const junk = [
      Buffer.alloc(0),
      Buffer.from("{}"),
      Buffer.alloc(100_000, 0x81),
      encodeCbor([1, 2, 3]),
      encodeTagged(16, "text"),
      encodeTagged(16, [Buffer.alloc(0), new Map(), Buffer.alloc(40)]),
      encodeTagged(16, [encodeCbor(new Map([[1, 1]])), new Map(), Buffer.alloc(40)]),
      encodeTagged(16, [encodeCbor(new Map([[1, 3]])), new Map(), Buffer.alloc(40)]),
      Buffer.from("9affffffff", "hex"),
    ];
    for (const each of junk) expect(reasonOf(() => sides().hubOpener.open(each))).toBe("malformed");
  });
});

describe("openings", () => {
  const request: Open = { agentId: "web-01", nonce: nonces.agent };
  const answer = { agentId: "web-01", agentNonce: nonces.agent, nonce: nonces.hub, code: "", message: "" };
  const anybody = () => {};

  test("an answer to exactly this request", () => {
    const got = verifyOpened(signOpened(answer, identity(hubPair)), request, anybody);
    expect(got.nonce).toEqual(nonces.hub);
    expect(got.certificate.subject).toBe("CN=hub.example");
    const old = { ...answer, agentNonce: Buffer.alloc(32, 7) };
    expect(() => verifyOpened(signOpened(old, identity(hubPair)), request, anybody)).toThrow(
      "another request",
    );
  });

  test("a refusal is thrown as the hub says it", () => {
    const refusal = { ...answer, nonce: Buffer.alloc(0), code: "unauthenticated", message: "it was revoked" };
    expect(() => verifyOpened(signOpened(refusal, identity(hubPair)), request, anybody)).toThrow(
      "the hub says: it was revoked",
    );
  });

  test("a request is no answer, one altered is neither, and nobody is asked whether to trust it", () => {
    const signed = signOpen(request, identity(agentPair));
    const trust = () => {
      throw new Error("asked");
    };
    expect(() => verifyOpened(signed, request, trust)).toThrow("signature is wrong");
    for (let index = 0; index < signed.length; index += 3) {
      const altered = Buffer.from(signed);
      altered[index]! ^= 0x10;
      expect(() => verifyOpen(altered, trust)).toThrow(/signature|CBOR|not a message|certificate/);
    }
    expect(() => verifyOpen(Buffer.alloc(20_000), trust)).toThrow("20000 bytes");
  });

  test("the payload's form is checked", () => {
    const short = signOpen({ agentId: "web-01", nonce: Buffer.alloc(4) }, identity(agentPair));
    expect(() => verifyOpen(short, anybody)).toThrow("32 bytes");
    expect(decodeCbor(encodeCbor(1))).toBe(1);
  });
});
