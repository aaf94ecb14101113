import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { HoldfastError } from "../core/errors.ts";
import type { Ids } from "../core/ids.ts";
import type { Logger } from "../core/logger.ts";
import { type HubHome, homeError, writeDurably } from "./home.ts";
import {
  type CertificateAuthority,
  openCa,
  type PemPair,
  readServerCertificate,
} from "./enrollment/certificates.ts";

const RENEW_BEFORE_MS = 30 * 86_400_000;

export interface HubTls {
  ca: CertificateAuthority;
  /** PEM: the server's certificate, then the CA's, so that an agent that enrolls finds the pinned key. */
  chain: string;
  key: string;
}

export interface TlsOptions {
  home: HubHome;
  names: string[];
  nowMs: number;
  ids: Ids;
  log: Logger;
}

/** Opens the CA and the server's certificate; makes a new one when it ends soon, is not ours, or names changed. */
export async function openHubTls(options: TlsOptions): Promise<HubTls> {
  const { home, names, nowMs, ids, log } = options;
  const ca = await openCa({ certificate: read(home.caFile), key: read(home.caKeyFile) }, ids).catch(
    (error: unknown) => {
      if (error instanceof HoldfastError) throw error;
      throw new HoldfastError(
        "corrupt",
        `The hub's CA in ${home.certificates} cannot be used: restore ca.crt and ca.key from a backup`,
        { cause: error },
      );
    },
  );
  let pair = readPair(home);
  const why = pair ? await renewal(pair, ca, names, nowMs) : "there is none";
  if (!pair || why !== undefined) {
    pair = await ca.server(names, nowMs);
    // The key first: with the old certificate it does not fit, which the next start sees and repairs.
    writeDurably(home.serverKeyFile, pair.key, 0o600);
    writeDurably(home.serverFile, pair.certificate, 0o644);
    log.info("made a new server certificate", { reason: why, names });
  }
  return { ca, chain: pair.certificate + ca.certificate, key: pair.key };
}

/** Why the certificate must be replaced, if it must. */
async function renewal(
  pair: PemPair,
  ca: CertificateAuthority,
  names: string[],
  nowMs: number,
): Promise<string | undefined> {
  try {
    const certificate = new X509Certificate(pair.certificate);
    if (!certificate.checkPrivateKey(createPrivateKey(pair.key))) return "its key does not fit";
    if (!certificate.verify(new X509Certificate(ca.certificate).publicKey)) return "the CA has not signed it";
    const { expiresMs, names: current } = await readServerCertificate(pair.certificate);
    if (expiresMs - nowMs < RENEW_BEFORE_MS) return "it ends in less than 30 days";
    const wanted = new Set(names.map(canonical));
    const has = new Set(current.map(canonical));
    return wanted.symmetricDifference(has).size === 0 ? undefined : "the names have changed";
  } catch {
    return "it cannot be read";
  }
}

/** Addresses come back from a certificate in another spelling (`::1`, `0:0:0:0:0:0:0:1`). */
function canonical(name: string): string {
  if (!name.includes(":")) return name.toLowerCase();
  return URL.canParse(`http://[${name}]`) ? new URL(`http://[${name}]`).hostname : name.toLowerCase();
}

function readPair(home: HubHome): PemPair | undefined {
  if (!existsSync(home.serverFile) || !existsSync(home.serverKeyFile)) return undefined;
  return { certificate: read(home.serverFile), key: read(home.serverKeyFile) };
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw homeError("read", file, error);
  }
}
