import { createPrivateKey, createPublicKey } from "node:crypto";
import { readFile } from "node:fs/promises";
import { HoldfastError, messageOf, systemCode } from "../../core/errors.ts";
import { writeNew } from "./write-file.ts";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

export interface AgentKey {
  keys: CryptoKeyPair;
  /** SPKI, DER. */
  publicKey: Buffer;
  /** This call made it. */
  made: boolean;
}

/**
 * The agent's key, made here and never sent anywhere. One that is there already is used again: after an answer that was
 * lost, the hub knows the agent by it.
 */
export async function agentKey(path: string): Promise<AgentKey> {
  const found = await readKey(path);
  if (found !== null) return await imported(path, found, false);
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const pem = createPrivateKey({
    key: Buffer.from(await crypto.subtle.exportKey("pkcs8", keys.privateKey)),
    format: "der",
    type: "pkcs8",
  }).export({ type: "pkcs8", format: "pem" }) as string;
  const made = await writeNew(path, pem, 0o600);
  // Somebody else may have been first: then theirs is the key.
  return await imported(path, made ? pem : ((await readKey(path)) ?? pem), made);
}

/** PKCS #10 request, DER. The hub takes only its public key; the subject is for people who look at it. */
export async function certificateRequest({ keys }: AgentKey, id: string): Promise<Buffer> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  x509.cryptoProvider.set(crypto);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: `CN=${id}`,
    keys,
    signingAlgorithm: ALGORITHM,
  });
  return Buffer.from(request.rawData);
}

async function readKey(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if (systemCode(error) === "ENOENT") return null;
    throw new HoldfastError("failed", `cannot read the agent's key ${path}: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function imported(path: string, pem: string, made: boolean): Promise<AgentKey> {
  try {
    const key = createPrivateKey(pem);
    const publicKey = createPublicKey(key).export({ type: "spki", format: "der" });
    const pkcs8 = key.export({ type: "pkcs8", format: "der" });
    const keys = {
      privateKey: await crypto.subtle.importKey("pkcs8", pkcs8, ALGORITHM, false, ["sign"]),
      publicKey: await crypto.subtle.importKey("spki", publicKey, ALGORITHM, true, ["verify"]),
    };
    return { keys, publicKey, made };
  } catch {
    // The cause could quote the file.
    throw new HoldfastError("invalid", `${path} is not an ECDSA P-256 key: remove it, and enroll again`);
  }
}
