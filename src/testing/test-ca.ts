import "reflect-metadata";
import * as x509 from "@peculiar/x509";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const DAY_MS = 86_400_000;

x509.cryptoProvider.set(crypto);

export interface PemPair {
  /** PEM, the leaf only. */
  certificate: string;
  /** PKCS #8 PEM. */
  key: string;
}

export interface Validity {
  notBefore?: Date;
  notAfter?: Date;
}

/** A certificate authority for tests, made like the hub's: ECDSA P-256, one self-signed CA that signs leaves. */
export interface TestCa {
  /** PEM. */
  certificate: string;
  der: Buffer;
  /** `sha256:<64 hex>` of the CA's public key (SPKI). */
  pin: string;
  server(names: string[], validity?: Validity): Promise<PemPair>;
  agent(id: string, options?: Validity & { usage?: "client" | "server"; uri?: string }): Promise<PemPair>;
  /** Signs a CSR (DER) as the hub does: the subject is ours, the public key is the request's. */
  sign(csr: Uint8Array, id: string, validity?: Validity): Promise<Buffer>;
}

export async function createTestCa(name = "test hub", validity: Validity = {}): Promise<TestCa> {
  const keys = await newKeys();
  const ca = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `CN=${name}`,
    ...period(validity, 3650),
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const leaf = async (
    subject: string,
    publicKey: CryptoKey,
    usage: string,
    names: { type: "dns" | "ip" | "url"; value: string }[],
    validity: Validity,
  ) =>
    x509.X509CertificateGenerator.create({
      serialNumber: serial(),
      subject,
      issuer: ca.subject,
      ...period(validity, 30),
      signingAlgorithm: ALGORITHM,
      publicKey,
      signingKey: keys.privateKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([usage]),
        new x509.SubjectAlternativeNameExtension(names),
        await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey),
      ],
    });

  const agentNames = (id: string, uri = `urn:holdfast:agent:${id}`) => [{ type: "url" as const, value: uri }];
  return {
    certificate: ca.toString("pem"),
    der: Buffer.from(ca.rawData),
    pin: `sha256:${new Bun.CryptoHasher("sha256").update(ca.publicKey.rawData).digest("hex")}`,
    server: async (names, validity = {}) => {
      const own = await newKeys();
      const sans = names.map((value) => ({
        type: /^[\d.]+$|:/.test(value) ? ("ip" as const) : ("dns" as const),
        value,
      }));
      const made = await leaf(`CN=${names[0]}`, own.publicKey, SERVER_AUTH, sans, validity);
      return { certificate: made.toString("pem"), key: await keyPem(own) };
    },
    agent: async (id, options = {}) => {
      const own = await newKeys();
      const usage = options.usage === "server" ? SERVER_AUTH : CLIENT_AUTH;
      const made = await leaf(`CN=${id}`, own.publicKey, usage, agentNames(id, options.uri), options);
      return { certificate: made.toString("pem"), key: await keyPem(own) };
    },
    sign: async (csr, id, validity = {}) => {
      const request = new x509.Pkcs10CertificateRequest(csr as Uint8Array<ArrayBuffer>);
      if (!(await request.verify())) throw new Error("the CSR's signature is wrong");
      const publicKey = await request.publicKey.export();
      return Buffer.from((await leaf(`CN=${id}`, publicKey, CLIENT_AUTH, agentNames(id), validity)).rawData);
    },
  };
}

async function newKeys(): Promise<CryptoKeyPair> {
  return (await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"])) as CryptoKeyPair;
}

async function keyPem(keys: CryptoKeyPair): Promise<string> {
  return x509.PemConverter.encode(await crypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY");
}

function period(validity: Validity, days: number): { notBefore: Date; notAfter: Date } {
  return {
    notBefore: validity.notBefore ?? new Date(Date.now() - DAY_MS),
    notAfter: validity.notAfter ?? new Date(Date.now() + days * DAY_MS),
  };
}

function serial(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("hex");
}
