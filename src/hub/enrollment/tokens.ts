import type { Ids } from "../../core/ids.ts";

export const ADMIN_PREFIX = "hfadm_";
export const JOIN_PREFIX = "hfjoin_";

/** A secret of 32 random bytes; the prefix tells what it opens, and lets logs mask it. */
export function newToken(prefix: string, ids: Ids): string {
  return prefix + Buffer.from(ids.hex(32), "hex").toString("base64url");
}

/** Hex SHA-256: all that is ever stored of a token. */
export function hashToken(token: string): string {
  return new Bun.CryptoHasher("sha256").update(token).digest("hex");
}
