import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import "reflect-metadata";
import { Pkcs10CertificateRequestGenerator } from "@peculiar/x509";
import { type Clock, systemClock } from "../../core/clock.ts";
import { systemIds } from "../../core/ids.ts";
import { createLogger } from "../../core/logger.ts";
import { openHubStore, type SqlHubStore } from "../store/hub-store.ts";
import { createCa, openCa } from "./certificates.ts";
import { Enrollment } from "./enroll.ts";
import { hashToken, JOIN_PREFIX, newToken } from "./tokens.ts";

const HOUR_MS = 3_600_000;
const ids = systemIds();
const real = systemClock();
let shiftMs: number;
const clock: Clock = {
  ...real,
  mono: () => real.mono(),
  wall: () => real.wall(),
  trusted: () => real.trusted() + shiftMs,
};
let folder: string;
let store: SqlHubStore;
let enrollment: Enrollment;
let token: string;
let lines: Record<string, unknown>[];

async function csr(): Promise<Buffer> {
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = (await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"])) as CryptoKeyPair;
  const made = await Pkcs10CertificateRequestGenerator.create({
    name: "CN=x",
    keys,
    signingAlgorithm: algorithm,
  });
  return Buffer.from(made.rawData);
}

const ask = async (extra: object = {}) =>
  await enrollment.enroll(
    {
      agentId: "web-01",
      token,
      csr: await csr(),
      labels: { role: "web" },
      wallMs: BigInt(clock.wall()),
      ...extra,
    },
    "127.0.0.1:5",
  );

beforeEach(async () => {
  shiftMs = 0;
  lines = [];
  folder = mkdtempSync(join(tmpdir(), "hub-enroll-"));
  store = await openHubStore({ file: join(folder, "hub.db"), clock, ids });
  const ca = await openCa(await createCa("Holdfast test", clock.trusted(), ids), ids);
  const sink = { write: (line: string) => void lines.push(JSON.parse(line) as Record<string, unknown>) };
  const log = createLogger({ sinks: [sink], level: () => "debug", wall: clock.wall });
  enrollment = new Enrollment({ store, ca, clock, log });
  token = newToken(JOIN_PREFIX, ids);
  const now = clock.trusted();
  await store.addJoinToken({ hash: hashToken(token), expiresMs: now + HOUR_MS, uses: 2, createdMs: now });
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true });
});

describe("enrollment", () => {
  test("gives a certificate for the id, and remembers the agent", async () => {
    const answer = await ask();
    const certificate = new X509Certificate(answer.certificate);
    expect(certificate.subject).toBe("CN=web-01");
    expect(certificate.subjectAltName).toBe("URI:urn:holdfast:agent:web-01");
    expect(certificate.verify(new X509Certificate(answer.caCertificate).publicKey)).toBe(true);
    expect(answer.hubId).toBe(store.hubId);
    const agent = await store.agent("web-01");
    expect(agent!.certificateSerial.toUpperCase()).toBe(certificate.serialNumber);
    expect(agent!.certificateExpiresMs).toBe(new Date(certificate.validTo).getTime());
    expect(agent!.labels).toEqual({ role: "web" });
  });

  test("a lost answer can be asked for again with the same key, also when the token is used up", async () => {
    const request = await csr();
    await ask({ csr: request });
    await ask({ agentId: "db-01" });
    await expect(ask({ agentId: "db-02" })).rejects.toThrow("used up");
    expect((await ask({ csr: request })).certificate.length).toBeGreaterThan(100);
  });

  test.each([
    [
      "an unknown token",
      { token: "hfjoin_nobody-knows-this" },
      "unauthenticated",
      "does not know the join token",
    ],
    ["no token", { token: "" }, "unauthenticated", "does not know the join token"],
    ["a short id", { agentId: "a" }, "invalid", "agent id is not valid"],
    ["a path as id", { agentId: "../../etc" }, "invalid", "agent id is not valid"],
    ["a long id", { agentId: "a".repeat(65) }, "invalid", "agent id is not valid"],
    ["no request", { csr: Buffer.alloc(0) }, "invalid", "certificate request"],
    ["a bad request", { csr: Buffer.from("nonsense") }, "invalid", "certificate request cannot be used"],
    ["a huge request", { csr: Buffer.alloc(10_000) }, "invalid", "10000 bytes"],
    ["huge labels", { labels: { a: "x".repeat(2000) } }, "invalid", "labels"],
  ])("refuses %s and logs it", async (_name, extra, code, message) => {
    const error = await ask(extra).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
    expect(await store.agents()).toEqual([]);
    expect(lines.at(-1)).toMatchObject({
      level: "warn",
      message: "enrollment refused",
      code,
      peer: "127.0.0.1:5",
    });
    expect(JSON.stringify(lines)).not.toContain(token);
  });

  test("refuses an id that another key holds", async () => {
    await ask();
    await expect(ask()).rejects.toMatchObject({ code: "conflict" });
  });

  test("refuses an expired token", async () => {
    shiftMs = 2 * HOUR_MS;
    await expect(ask()).rejects.toThrow("has expired");
  });

  test("takes an agent whose clock is ten years off, tells it the time, and warns", async () => {
    const answer = await ask({ wallMs: 0n });
    expect(Math.abs(Number(answer.wallMs) - clock.wall())).toBeLessThan(60_000);
    expect(lines).toContainEqual(expect.objectContaining({ level: "warn", agent: "web-01" }));
  });
});
