import { createPrivateKey, X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { CertificateAuthority, PemPair } from "./enrollment/certificates.ts";
import { type CertificateStore, ReceiptSigner } from "./enrollment/receipt-signer.ts";
import { homeError, type HubHome, writeDurably } from "./home.ts";

export interface ReceiptKeyOptions {
  home: HubHome;
  ca: CertificateAuthority;
  store: CertificateStore;
  clock: Clock;
  log: Logger;
}

/** Opens the key that receipts are signed with; makes one when there is none, or it cannot be used any more. */
export async function openReceiptSigner(options: ReceiptKeyOptions): Promise<ReceiptSigner> {
  const { home, ca, store, clock, log } = options;
  const found = read(home);
  const why = found ? problemOf(found, ca) : "there is none";
  const pair = found && why === undefined ? found : await ca.receipts(clock.trusted());
  if (why !== undefined) {
    writeReceiptKey(home, pair);
    log.info("made a new key for receipts", { reason: why });
  }
  const make = () => ca.receipts(clock.trusted());
  const write = (made: PemPair) => writeReceiptKey(home, made);
  return await ReceiptSigner.open({ pair, make, write, store, clock, log });
}

/** The key first: with the old certificate it does not fit, which the next start sees and repairs. */
export function writeReceiptKey(home: HubHome, pair: PemPair): void {
  writeDurably(home.receiptsKeyFile, pair.key, 0o600);
  writeDurably(home.receiptsFile, pair.certificate, 0o644);
}

/** Why the key must be replaced, if it must. That its certificate ends is no reason: receipts have no use for its dates. */
function problemOf(pair: PemPair, ca: CertificateAuthority): string | undefined {
  try {
    const certificate = new X509Certificate(pair.certificate);
    if (!certificate.checkPrivateKey(createPrivateKey(pair.key))) return "its key does not fit";
    return certificate.verify(new X509Certificate(ca.certificate).publicKey)
      ? undefined
      : "the CA has not signed it";
  } catch (error) {
    return `it cannot be read: ${messageOf(error)}`;
  }
}

function read(home: HubHome): PemPair | undefined {
  const files = [home.receiptsFile, home.receiptsKeyFile];
  if (!files.every((file) => existsSync(file))) return undefined;
  const [certificate, key] = files.map((file) => {
    try {
      return readFileSync(file, "utf8");
    } catch (error) {
      throw homeError("read", file, error);
    }
  });
  return { certificate: certificate!, key: key! };
}
