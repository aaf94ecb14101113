import { isIP } from "node:net";
import { HoldfastError } from "../../core/errors.ts";
import type { Ids } from "../../core/ids.ts";
import { RECEIPT_SUBJECT } from "../../protocol/receipts.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const DAY_MS = 86_400_000;
const CA_DAYS = 3650;
const SERVER_DAYS = 365;
const AGENT_DAYS = 30;
/** A certificate is valid a little before it is made: the other side's clock may be behind. */
const BACKDATE_MS = 5 * 60_000;

/** PEM: certificate and PKCS #8 key. */
export interface PemPair {
  certificate: string;
  key: string;
}

export interface AgentIdentity {
  /** Lower-case hex. */
  serial: string;
  expiresMs: number;
}

/** A CSR whose signature is right. */
export interface CheckedCsr {
  /** Hex SHA-256 of the public key (SPKI). */
  publicKey: string;
  key: CryptoKey;
}

/** The hub's certificate authority: one self-signed P-256 root that signs the hub's and the agents' certificates. */
export interface CertificateAuthority {
  /** PEM. */
  certificate: string;
  der: Buffer;
  /** `sha256:` and the hex SHA-256 of its public key (SPKI DER). */
  pin: string;
  /** A key and a certificate for the hub's own server, for one year. */
  server(names: string[], nowMs: number): Promise<PemPair>;
  /** A key and a certificate for receipts: no agent and no server can pass for its holder, nor it for one of them. */
  receipts(nowMs: number): Promise<PemPair>;
  /** The serial and the end of a certificate that `agent` will make. */
  identity(nowMs: number): AgentIdentity;
  /** DER. The request's subject is ignored: the name is the id that was enrolled. */
  agent(id: string, csr: CheckedCsr, identity: AgentIdentity, nowMs: number): Promise<Buffer>;
}

/** @peculiar/x509 needs reflect-metadata before it, and both cost memory: loaded when a certificate is made. */
async function load() {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  x509.cryptoProvider.set(crypto);
  return x509;
}

export async function createCa(name: string, nowMs: number, ids: Ids): Promise<PemPair> {
  const x509 = await load();
  const keys = await newKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(ids),
    name: `CN=${name}`,
    ...period(nowMs, CA_DAYS),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: `${certificate.toString("pem")}\n`, key: await keyPem(keys) };
}

export async function openCa(ca: PemPair, ids: Ids): Promise<CertificateAuthority> {
  const x509 = await load();
  const certificate = new x509.X509Certificate(ca.certificate);
  const key = await crypto.subtle.importKey(
    "pkcs8",
    x509.PemConverter.decodeFirst(ca.key),
    ALGORITHM,
    false,
    ["sign"],
  );
  const leaf = async (
    name: string,
    publicKey: CryptoKey,
    use: { usage: string; names: { type: "dns" | "ip" | "url"; value: string }[] } | undefined,
    validity: { serialNumber: string; notBefore: Date; notAfter: Date },
  ) =>
    x509.X509CertificateGenerator.create({
      ...validity,
      subject: `CN=${name}`,
      issuer: certificate.subject,
      signingAlgorithm: ALGORITHM,
      publicKey,
      signingKey: key,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        ...(use
          ? [
              new x509.ExtendedKeyUsageExtension([use.usage]),
              new x509.SubjectAlternativeNameExtension(use.names),
            ]
          : []),
        await x509.AuthorityKeyIdentifierExtension.create(await certificate.publicKey.export()),
      ],
    });

  return {
    certificate: ca.certificate,
    der: Buffer.from(certificate.rawData),
    pin: `sha256:${sha256(certificate.publicKey.rawData)}`,
    async server(names, nowMs) {
      const keys = await newKeys();
      const validity = { serialNumber: newSerial(ids), ...period(nowMs, SERVER_DAYS) };
      const use = { usage: SERVER_AUTH, names: names.map(generalName) };
      const made = await leaf(names[0]!, keys.publicKey, use, validity);
      return { certificate: `${made.toString("pem")}\n`, key: await keyPem(keys) };
    },
    async receipts(nowMs) {
      const keys = await newKeys();
      const validity = { serialNumber: newSerial(ids), ...period(nowMs, CA_DAYS) };
      const made = await leaf(RECEIPT_SUBJECT.slice("CN=".length), keys.publicKey, undefined, validity);
      return { certificate: `${made.toString("pem")}\n`, key: await keyPem(keys) };
    },
    identity: (nowMs) => ({
      serial: newSerial(ids),
      // Certificates count in whole seconds.
      expiresMs: Math.floor(nowMs / 1000) * 1000 + AGENT_DAYS * DAY_MS,
    }),
    async agent(id, csr, { serial, expiresMs }, nowMs) {
      const names = [{ type: "url" as const, value: `urn:holdfast:agent:${id}` }];
      const notBefore = new Date(nowMs - BACKDATE_MS);
      const validity = { serialNumber: serial, notBefore, notAfter: new Date(expiresMs) };
      return Buffer.from((await leaf(id, csr.key, { usage: CLIENT_AUTH, names }, validity)).rawData);
    },
  };
}

/** Parses a PKCS #10 request (DER) and checks that who made it has its key. Throws `invalid`. */
export async function checkCsr(der: Uint8Array): Promise<CheckedCsr> {
  const x509 = await load();
  try {
    const request = new x509.Pkcs10CertificateRequest(new Uint8Array(der));
    const algorithm = request.publicKey.algorithm as { name?: string; namedCurve?: string };
    if (algorithm.name !== "ECDSA" || algorithm.namedCurve !== "P-256") {
      throw new Error("its key is not an ECDSA key on P-256");
    }
    if (!(await request.verify())) throw new Error("its signature is wrong");
    const key = await request.publicKey.export(ALGORITHM, ["verify"]);
    return { publicKey: sha256(request.publicKey.rawData), key };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new HoldfastError("invalid", `The certificate request cannot be used: ${why}`, { cause: error });
  }
}

/** Until when a server certificate (PEM) holds, and for which names, in its order. */
export async function readServerCertificate(pem: string): Promise<{ expiresMs: number; names: string[] }> {
  const x509 = await load();
  const certificate = new x509.X509Certificate(pem);
  const names = certificate.getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? [];
  return { expiresMs: certificate.notAfter.getTime(), names: names.map((name) => name.value) };
}

function generalName(value: string): { type: "dns" | "ip"; value: string } {
  return { type: isIP(value) ? "ip" : "dns", value };
}

function period(nowMs: number, days: number): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(nowMs - BACKDATE_MS), notAfter: new Date(nowMs + days * DAY_MS) };
}

/** 16 random bytes with the highest bits 01: positive, and never shortened in DER. */
function newSerial(ids: Ids): string {
  const bytes = Buffer.from(ids.hex(16), "hex");
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return bytes.toString("hex");
}

async function newKeys(): Promise<CryptoKeyPair> {
  return (await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"])) as CryptoKeyPair;
}

async function keyPem(keys: CryptoKeyPair): Promise<string> {
  const { PemConverter } = await load();
  return `${PemConverter.encode(await crypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY")}\n`;
}

function sha256(bytes: ArrayBuffer): string {
  return new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
}
