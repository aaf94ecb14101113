import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemIds } from "../../core/ids.ts";
import {
  type CertificateAuthority,
  checkCsr,
  createCa,
  openCa,
  type PemPair,
  readServerCertificate,
} from "./certificates.ts";

const DAY_MS = 86_400_000;
const NOW = Math.floor(Date.now() / 1000) * 1000;
let folder: string;
let ca: CertificateAuthority;
let caPair: PemPair;
const path = (name: string) => join(folder, name);
const openssl = (...args: string[]) => {
  const done = Bun.spawnSync(["openssl", ...args], { cwd: folder });
  return done.stdout.toString() + done.stderr.toString();
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "hub-ca-"));
  caPair = await createCa("Holdfast test", NOW, systemIds());
  ca = await openCa(caPair, systemIds());
  writeFileSync(path("ca.crt"), caPair.certificate);
  writeFileSync(path("ca.key"), caPair.key);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** A CSR made by openssl, with a subject that must be ignored. */
function makeCsr(name: string, ...key: string[]): Buffer {
  openssl(
    "req",
    "-new",
    "-nodes",
    ...key,
    "-keyout",
    `${name}.key`,
    "-out",
    `${name}.csr`,
    "-subj",
    "/CN=root",
  );
  openssl("req", "-in", `${name}.csr`, "-outform", "DER", "-out", `${name}.der`);
  return require("node:fs").readFileSync(path(`${name}.der`));
}
const P256 = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

describe("the CA, as openssl sees it", () => {
  test("is a CA of ten years whose pin is the hash of its public key", () => {
    const text = openssl("x509", "-in", "ca.crt", "-noout", "-text");
    expect(text).toContain("CA:TRUE, pathlen:0");
    expect(text).toContain("Certificate Sign, CRL Sign");
    expect(text).toContain("ASN1 OID: prime256v1");
    openssl("x509", "-in", "ca.crt", "-pubkey", "-noout", "-out", "ca.pub");
    openssl("pkey", "-pubin", "-in", "ca.pub", "-outform", "DER", "-out", "ca.spki");
    expect(`SHA2-256(ca.spki)= ${ca.pin.slice(7)}\n`).toBe(openssl("dgst", "-sha256", "ca.spki"));
    expect(openssl("x509", "-in", "ca.crt", "-noout", "-checkend", String(3649 * 86400))).toContain(
      "will not",
    );
    expect(openssl("x509", "-in", "ca.crt", "-noout", "-checkend", String(3651 * 86400))).toContain(
      "will expire",
    );
  });

  test("signs a server certificate for DNS names and addresses", async () => {
    const names = ["hub.example", "localhost", "127.0.0.1", "::1"];
    const server = await ca.server(names, NOW);
    writeFileSync(path("server.crt"), server.certificate);
    writeFileSync(path("server.key"), server.key);
    const verify = (...more: string[]) =>
      openssl("verify", "-CAfile", "ca.crt", "-purpose", "sslserver", ...more, "server.crt");
    expect(verify("-verify_hostname", "hub.example")).toContain("server.crt: OK");
    expect(verify("-verify_ip", "127.0.0.1")).toContain("server.crt: OK");
    expect(verify("-verify_ip", "::1")).toContain("server.crt: OK");
    expect(verify("-verify_hostname", "evil.example")).toContain("hostname mismatch");
    expect(openssl("verify", "-CAfile", "ca.crt", "-purpose", "sslclient", "server.crt")).not.toContain(
      ": OK",
    );
    const [key, cert] = [
      openssl("pkey", "-in", "server.key", "-pubout"),
      openssl("x509", "-in", "server.crt", "-pubkey", "-noout"),
    ];
    expect(key).toBe(cert);
    expect(await readServerCertificate(server.certificate)).toEqual({ expiresMs: NOW + 365 * DAY_MS, names });
  });

  test("signs an agent's certificate under the enrolled id, whatever the request's subject says", async () => {
    const csr = await checkCsr(makeCsr("agent", ...P256));
    const identity = ca.identity(NOW);
    writeFileSync(path("agent.crt.der"), await ca.agent("web-01", csr, identity, NOW));
    openssl("x509", "-inform", "DER", "-in", "agent.crt.der", "-out", "agent.crt");
    expect(openssl("verify", "-CAfile", "ca.crt", "-purpose", "sslclient", "agent.crt")).toContain(
      "agent.crt: OK",
    );
    expect(openssl("verify", "-CAfile", "ca.crt", "-purpose", "sslserver", "agent.crt")).not.toContain(
      ": OK",
    );
    const text = openssl("x509", "-in", "agent.crt", "-noout", "-text", "-serial", "-subject");
    expect(text).toMatch(/subject=CN ?= ?web-01/);
    expect(text).toContain("URI:urn:holdfast:agent:web-01");
    expect(text).toContain(`serial=${identity.serial.toUpperCase()}`);
    expect(identity.serial).toHaveLength(32);
    expect(identity.expiresMs).toBe(NOW + 30 * DAY_MS);
    expect(openssl("x509", "-in", "agent.crt", "-pubkey", "-noout")).toBe(
      openssl("pkey", "-in", "agent.key", "-pubout"),
    );
    openssl("pkey", "-in", "agent.key", "-pubout", "-outform", "DER", "-out", "agent.spki");
    expect(openssl("dgst", "-sha256", "agent.spki")).toContain(csr.publicKey);
  });
});

describe("requests that are refused", () => {
  test.each([
    ["no DER", () => Buffer.from("hello")],
    [
      "a broken signature",
      () => {
        const der = makeCsr("broken", ...P256);
        der[der.length - 1]! ^= 1;
        return der;
      },
    ],
    ["an RSA key", () => makeCsr("rsa", "-newkey", "rsa:2048")],
    ["another curve", () => makeCsr("p384", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384")],
  ])("%s", async (_name, make) => {
    await expect(checkCsr(make())).rejects.toMatchObject({ code: "invalid" });
  });
});
