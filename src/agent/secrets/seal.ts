import { HoldfastError } from "../../core/errors.ts";

const NONCE = 12;
const TAG = 16;
const KEY = 32;
/** Loaded with the first secret: an agent without secrets is 1 MB smaller. */
const nodeCrypto = () => process.getBuiltinModule("node:crypto");

/** First byte of everything sealed: how it was done. */
const VERSION = 1;

/**
 * AES-256-GCM (NIST SP 800-38D): version, nonce, tag, ciphertext. `about` is authenticated with it, so that a row cannot be put
 * in the place of another one. `random` gives fresh random bytes; with one key it must never give the same twice.
 */
export function seal(
  key: Uint8Array,
  plain: Uint8Array,
  about: string,
  random: (bytes: number) => Uint8Array,
): Uint8Array {
  const nonce = random(NONCE);
  const cipher = nodeCrypto().createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(Buffer.from(about));
  const body = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([Uint8Array.of(VERSION), nonce, cipher.getAuthTag(), body]);
}

/** Throws `corrupt` for anything that was not sealed with this key and about this. */
export function unseal(key: Uint8Array, sealed: Uint8Array, about: string): Buffer {
  try {
    if (sealed[0] !== VERSION || sealed.length < 1 + NONCE + TAG) throw new Error("it was not sealed");
    const bytes = Buffer.from(sealed);
    const decipher = nodeCrypto().createDecipheriv("aes-256-gcm", key, bytes.subarray(1, 1 + NONCE), {
      authTagLength: TAG,
    });
    decipher.setAAD(Buffer.from(about));
    decipher.setAuthTag(bytes.subarray(1 + NONCE, 1 + NONCE + TAG));
    return Buffer.concat([decipher.update(bytes.subarray(1 + NONCE + TAG)), decipher.final()]);
  } catch {
    throw new HoldfastError("corrupt", `${about} cannot be opened with this key`);
  }
}

/** A key of the right length from whatever a key file holds. */
export function keyFrom(material: Uint8Array, purpose: string): Uint8Array {
  return new Uint8Array(nodeCrypto().hkdfSync("sha256", material, new Uint8Array(0), purpose, KEY));
}

/** Enough to tell keys apart, not enough to guess them. */
export function fingerprint(key: Uint8Array): string {
  return nodeCrypto()
    .createHash("sha256")
    .update("holdfast fingerprint")
    .update(key)
    .digest("hex")
    .slice(0, 16);
}
