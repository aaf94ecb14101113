import { createCipheriv, createDecipheriv, type KeyObject, sign, verify } from "node:crypto";
import { HoldfastError } from "../core/errors.ts";
import { type CborMap, decodeCbor, decodeTagged, encodeCbor, encodeTagged } from "./cbor.ts";

// The two COSE messages (RFC 9052) that frames travel in, with one algorithm each: there is nothing to negotiate.
const SIGN1_TAG = 18;
const ENCRYPT0_TAG = 16;
/** Labels of header parameters. */
export const HEADER = { alg: 1, kid: 4, partialIv: 6, x5chain: 33 } as const;
const ES256 = -7;
const A256GCM = 3;
const SIGNATURE_BYTES = 64;
const TAG_BYTES = 16;

export interface SignedParts {
  /** Covered by the signature. */
  header: CborMap;
  payload: Uint8Array;
}

/** COSE_Sign1 with ES256: ECDSA on P-256 with SHA-256, r then s. `header` need not name the algorithm. */
export function coseSign1(
  { header, payload }: SignedParts,
  key: KeyObject,
  externalAad: Uint8Array = NOTHING,
): Buffer {
  const bytes = encodeCbor(new Map([[HEADER.alg, ES256], ...header] as [unknown, unknown][]));
  const signature = sign("sha256", toSign(bytes, externalAad, payload), { key, dsaEncoding: "ieee-p1363" });
  return encodeTagged(SIGN1_TAG, [bytes, new Map(), payload, signature]);
}

/**
 * Reads a COSE_Sign1 and checks it under the key that `keyOf` gives for its header, which is not believed before. Throws
 * `invalid` for what is none, `unauthenticated` for a wrong signature.
 */
export function coseVerify1(
  message: Uint8Array,
  keyOf: (header: CborMap) => KeyObject,
  externalAad: Uint8Array = NOTHING,
): SignedParts {
  const parts = decodeTagged(message, SIGN1_TAG);
  if (!Array.isArray(parts) || parts.length !== 4) throw malformed("a COSE_Sign1 has four parts");
  const [protectedBytes, , payload, signature] = parts as unknown[];
  const header = readHeader(protectedBytes, ES256);
  if (!(payload instanceof Uint8Array) || !(signature instanceof Uint8Array)) {
    throw malformed("payload and signature are bytes");
  }
  const key = keyOf(header);
  const signed = toSign(protectedBytes as Uint8Array, externalAad, payload);
  const right =
    signature.length === SIGNATURE_BYTES &&
    verify("sha256", signed, { key, dsaEncoding: "ieee-p1363" }, signature);
  if (!right) throw new HoldfastError("unauthenticated", "the signature is wrong");
  return { header, payload };
}

/** COSE_Encrypt0 with A256GCM. The header, which anybody can read, is authenticated. */
export function coseEncrypt0(
  header: CborMap,
  plain: Uint8Array,
  { key, iv }: { key: Uint8Array; iv: Uint8Array },
  externalAad: Uint8Array,
): Buffer {
  const bytes = encodeHeader0(header);
  const cipher = createCipheriv("aes-256-gcm", key, iv).setAAD(toAuthenticate(bytes, externalAad));
  const sealed = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  return encodeTagged(ENCRYPT0_TAG, [bytes, new Map(), sealed]);
}

/** The protected header of a COSE_Encrypt0 as bytes, for whoever signs what is inside together with it. */
export function encodeHeader0(header: CborMap): Buffer {
  return encodeCbor(new Map([[HEADER.alg, A256GCM], ...header] as [unknown, unknown][]));
}

export interface Sealed {
  header: CborMap;
  headerBytes: Uint8Array;
  ciphertext: Uint8Array;
}

/** Takes a COSE_Encrypt0 apart without a key; nothing of it is believed yet. Throws `invalid`. */
export function readEncrypt0(message: Uint8Array): Sealed {
  const parts = decodeTagged(message, ENCRYPT0_TAG);
  if (!Array.isArray(parts) || parts.length !== 3) throw malformed("a COSE_Encrypt0 has three parts");
  const [headerBytes, , ciphertext] = parts as unknown[];
  const header = readHeader(headerBytes, A256GCM);
  if (!(ciphertext instanceof Uint8Array) || ciphertext.length < TAG_BYTES)
    throw malformed("it has no ciphertext");
  return { header, headerBytes: headerBytes as Uint8Array, ciphertext };
}

/** Throws `unauthenticated` when key, header or ciphertext are not what was sealed. */
export function coseDecrypt0(
  { headerBytes, ciphertext }: Sealed,
  { key, iv }: { key: Uint8Array; iv: Uint8Array },
  externalAad: Uint8Array,
): Buffer {
  const end = ciphertext.length - TAG_BYTES;
  const cipher = createDecipheriv("aes-256-gcm", key, iv, { authTagLength: TAG_BYTES })
    .setAAD(toAuthenticate(headerBytes, externalAad))
    .setAuthTag(ciphertext.subarray(end));
  try {
    return Buffer.concat([cipher.update(ciphertext.subarray(0, end)), cipher.final()]);
  } catch {
    throw new HoldfastError("unauthenticated", "it was not sealed under the session's key, or was altered");
  }
}

const NOTHING = new Uint8Array(0);

function toSign(header: Uint8Array, externalAad: Uint8Array, payload: Uint8Array): Buffer {
  return encodeCbor(["Signature1", header, externalAad, payload]);
}

function toAuthenticate(header: Uint8Array, externalAad: Uint8Array): Buffer {
  return encodeCbor(["Encrypt0", header, externalAad]);
}

function readHeader(bytes: unknown, algorithm: number): CborMap {
  const header = bytes instanceof Uint8Array ? decodeCbor(bytes) : undefined;
  if (!(header instanceof Map)) throw malformed("its protected header is no map");
  if (header.get(HEADER.alg) !== algorithm) throw malformed("it names another algorithm");
  return header;
}

function malformed(why: string): HoldfastError {
  return new HoldfastError("invalid", `this is not a message of ours: ${why}`);
}
