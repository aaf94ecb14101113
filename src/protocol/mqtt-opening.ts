import type { KeyObject } from "node:crypto";
import { X509Certificate } from "node:crypto";
import { ERROR_CODES, type ErrorCode, HoldfastError, messageOf } from "../core/errors.ts";
import { type CborMap, decodeCbor, encodeCbor } from "./cbor.ts";
import { type Fields, bytes, message, text } from "./cbor-fields.ts";
import { coseSign1, coseVerify1, HEADER } from "./cose.ts";
import { NONCE_BYTES } from "./sealed-session.ts";

// How a session begins, before there are keys: both sides show their certificates and a nonce, signed and readable. Nothing
// secret is in it; the hello with what is told about the host goes sealed.

/** Nothing larger is looked at before it has proved anything. */
export const MAX_OPENING_BYTES = 16 * 1024;

/** The agent asks for a session. */
export interface Open {
  agentId: string;
  nonce: Buffer;
}

/** The hub's answer: its nonce, or why there is none. */
export interface Opened {
  agentId: string;
  /** The agent's, so that an old answer cannot be shown again. */
  agentNonce: Buffer;
  nonce: Buffer;
  /** Empty when the session is open. */
  code: string;
  message: string;
}

const OPEN: Fields<Open> = { agentId: [1, text], nonce: [2, bytes] };
const OPENED: Fields<Opened> = {
  agentId: [1, text],
  agentNonce: [2, bytes],
  nonce: [3, bytes],
  code: [4, text],
  message: [5, text],
};
const open = message(OPEN);
const opened = message(OPENED);
/** What the signatures are for: neither passes for the other, or for anything else these keys sign. */
const OPEN_CONTEXT = Buffer.from("holdfast mqtt v1 open");
const OPENED_CONTEXT = Buffer.from("holdfast mqtt v1 opened");

export interface Identity {
  certificate: X509Certificate;
  privateKey: KeyObject;
}

export function signOpen(value: Open, { certificate, privateKey }: Identity): Buffer {
  return sign(open.write(value), certificate, privateKey, OPEN_CONTEXT);
}

/** Checks form and signature under the certificate that it shows; `trust` says whether that is one to believe. */
export function verifyOpen<T>(
  data: Uint8Array,
  trust: (certificate: X509Certificate) => T,
): { open: Open; certificate: X509Certificate; trusted: T } {
  const { payload, certificate, trusted } = verify(data, trust, OPEN_CONTEXT);
  const value = open.read(decodeCbor(payload), "open");
  if (value.nonce.length !== NONCE_BYTES) throw new HoldfastError("invalid", "the nonce is not 32 bytes");
  return { open: value, certificate, trusted };
}

export function signOpened(value: Opened, { certificate, privateKey }: Identity): Buffer {
  return sign(opened.write(value), certificate, privateKey, OPENED_CONTEXT);
}

/** The hub's answer to exactly this request. Throws the hub's refusal, and `invalid` or `unauthenticated` for what is none. */
export function verifyOpened(
  data: Uint8Array,
  request: Open,
  trust: (certificate: X509Certificate) => void,
): { nonce: Buffer; certificate: X509Certificate } {
  const { payload, certificate } = verify(data, trust, OPENED_CONTEXT);
  const value = opened.read(decodeCbor(payload), "opened");
  if (value.agentId !== request.agentId || Buffer.compare(value.agentNonce, request.nonce) !== 0) {
    throw new HoldfastError("invalid", "the hub's answer is to another request");
  }
  if (value.code !== "") {
    const code = Object.hasOwn(ERROR_CODES, value.code) ? (value.code as ErrorCode) : "failed";
    throw new HoldfastError(code, `the hub says: ${value.message.slice(0, 1000)}`, {
      details: { refused: true },
    });
  }
  if (value.nonce.length !== NONCE_BYTES) throw new HoldfastError("invalid", "the nonce is not 32 bytes");
  return { nonce: value.nonce, certificate };
}

function sign(value: unknown, certificate: X509Certificate, key: KeyObject, context: Uint8Array): Buffer {
  const header: CborMap = new Map([[HEADER.x5chain, certificate.raw]]);
  return coseSign1({ header, payload: encodeCbor(value) }, key, context);
}

function verify<T>(
  data: Uint8Array,
  trust: (certificate: X509Certificate) => T,
  context: Uint8Array,
): { payload: Uint8Array; certificate: X509Certificate; trusted: T } {
  if (data.length > MAX_OPENING_BYTES) {
    throw new HoldfastError("too_large", `the opening of a session has ${data.length} bytes`);
  }
  let certificate!: X509Certificate;
  const { payload } = coseVerify1(
    data,
    (header) => {
      certificate = shownCertificate(header);
      return certificate.publicKey;
    },
    context,
  );
  // After the signature: a refusal may tell whose certificate it was, and it was theirs.
  return { payload, certificate, trusted: trust(certificate) };
}

function shownCertificate(header: CborMap): X509Certificate {
  const der = header.get(HEADER.x5chain);
  if (!(der instanceof Uint8Array)) throw new HoldfastError("invalid", "no certificate was shown");
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(Buffer.from(der));
  } catch (error) {
    throw new HoldfastError("invalid", `the certificate cannot be read: ${messageOf(error)}`);
  }
  if (certificate.publicKey.asymmetricKeyDetails?.namedCurve !== "prime256v1") {
    throw new HoldfastError("invalid", "the certificate's key is not on P-256");
  }
  return certificate;
}
