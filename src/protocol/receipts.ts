import { X509Certificate } from "node:crypto";
import { HoldfastError, messageOf } from "../core/errors.ts";
import { receiptText, type StreamCursor, type StreamReceipt } from "../model/record.ts";

/** Subject of every certificate for receipts; no agent's id can be spelled so. */
export const RECEIPT_SUBJECT = "CN=Holdfast receipts";
/** So many certificates a hub keeps and an agent takes; a key is changed rarely. */
export const MAX_RECEIPT_CERTIFICATES = 256;
const MAX_CERTIFICATE_BYTES = 4096;
const SIGNATURE_BYTES = 64;
const SIGNING = { name: "ECDSA", hash: "SHA-256" } as const;
const CURVE = { name: "ECDSA", namedCurve: "P-256" } as const;

/** A key that signs receipts, as its certificate vouches for it. */
export interface ReceiptCertificate {
  /** Lower-case hex. */
  serial: string;
  der: Buffer;
  /** Of the CA that issued it, DER. */
  authority: Buffer;
  /** To verify with. */
  key: CryptoKey;
}

/**
 * Reads a certificate for receipts (DER) and checks that one of `authorities` issued it for that and nothing else. Its
 * dates are not looked at: a key that has expired has signed what it has signed. Throws `invalid`.
 */
export async function receiptCertificate(
  der: Uint8Array,
  authorities: X509Certificate[],
): Promise<ReceiptCertificate> {
  if (der.length === 0 || der.length > MAX_CERTIFICATE_BYTES) {
    throw refused(`it has ${der.length} bytes, 1 to ${MAX_CERTIFICATE_BYTES} are allowed`);
  }
  const certificate = parse(der);
  const issuer = authorities.find((ca) => certificate.checkIssued(ca) && certificate.verify(ca.publicKey));
  if (issuer === undefined) throw refused("it is not of the hub's CA");
  // `keyUsage` is the extended key usage here, as in Node: a certificate of an agent or a server has one.
  if (certificate.subject !== RECEIPT_SUBJECT || certificate.ca || certificate.keyUsage !== undefined) {
    throw refused("it is not made for receipts");
  }
  if (certificate.publicKey.asymmetricKeyDetails?.namedCurve !== "prime256v1") {
    throw refused("its key is not an ECDSA key on P-256");
  }
  const spki = certificate.publicKey.export({ type: "spki", format: "der" });
  return {
    serial: certificate.serialNumber.toLowerCase(),
    der: Buffer.from(certificate.raw),
    authority: Buffer.from(issuer.raw),
    key: await crypto.subtle.importKey("spki", new Uint8Array(spki), CURVE, false, ["verify"]),
  };
}

/** True when the receipt is this key's signature that the hub has committed the agent's stream up to the cursor. */
export async function receiptHolds(
  agent: string,
  cursor: StreamCursor,
  receipt: StreamReceipt,
  key: CryptoKey,
): Promise<boolean> {
  if (receipt.signature.length !== SIGNATURE_BYTES) return false;
  const text = Buffer.from(receiptText(receipt.hub, agent, cursor, receipt.atMs));
  return await crypto.subtle.verify(SIGNING, key, new Uint8Array(receipt.signature), text);
}

/** ECDSA P-256 with SHA-256 over the receipt's text: r then s, 32 bytes each. */
export async function signReceipt(
  hub: string,
  agent: string,
  cursor: StreamCursor,
  atMs: number,
  key: CryptoKey,
): Promise<Buffer> {
  const text = Buffer.from(receiptText(hub, agent, cursor, atMs));
  return Buffer.from(await crypto.subtle.sign(SIGNING, key, text));
}

/** A private key (PKCS #8, DER) to sign receipts with. */
export function importReceiptKey(pkcs8: Uint8Array): Promise<CryptoKey> {
  return crypto.subtle.importKey("pkcs8", new Uint8Array(pkcs8), CURVE, false, ["sign"]);
}

function parse(der: Uint8Array): X509Certificate {
  try {
    return new X509Certificate(Buffer.from(der));
  } catch (error) {
    throw refused(messageOf(error));
  }
}

function refused(why: string): HoldfastError {
  return new HoldfastError("invalid", `a certificate for receipts cannot be used: ${why}`);
}
