import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { PluginClock, PluginLog } from "../../src/sdk/holdfast.ts";

const DAY_MS = 86_400_000;
/** A certificate that ends within this is warned about. */
const SOON_MS = 14 * DAY_MS;
const LOOK_MS = DAY_MS / 2;

/** Both in PEM, or the paths of files with them. */
export interface ServerCertificate {
  cert: string;
  key: string;
}

/** Certificate and key for a server. Throws with what is wrong with them, so that no caller has to find out. */
export async function openCertificate(
  tls: ServerCertificate,
  wallMs: number,
): Promise<ServerCertificate & { expiresMs: number }> {
  const cert = await readText(tls.cert, "tls.cert");
  const isFile = tls.key.startsWith("/");
  const key = isFile ? await readText(tls.key, "tls.key") : tls.key;
  const keyName = isFile ? `tls.key ${tls.key}` : "tls.key from the secrets";
  const certificate = parsed(
    `tls.cert ${tls.cert} holds no certificate in PEM`,
    () => new X509Certificate(cert),
  );
  const privateKey = parsed(`${keyName} is no private key in PEM without a passphrase`, () =>
    createPrivateKey(key),
  );
  if (!certificate.checkPrivateKey(privateKey))
    throw new Error(`${keyName} is not the key of the certificate in ${tls.cert}`);
  const from = Date.parse(certificate.validFrom);
  const to = Date.parse(certificate.validTo);
  const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);
  if (wallMs > to)
    throw new Error(`the certificate in ${tls.cert} has expired on ${day(to)}: put a new one there`);
  if (wallMs < from)
    throw new Error(
      `the certificate in ${tls.cert} is good from ${day(from)} only: is this host's clock right?`,
    );
  return { cert, key, expiresMs: to };
}

/** Tells twice a day of a certificate that ends soon or has ended, until the signal aborts. */
export async function watchCertificate(
  { file, expiresMs }: { file: string; expiresMs: number },
  { clock, log, signal }: { clock: PluginClock; log: PluginLog; signal: AbortSignal },
): Promise<void> {
  for await (const _ of clock.every(LOOK_MS, signal)) {
    const day = new Date(expiresMs).toISOString().slice(0, 10);
    const left = expiresMs - clock.wall();
    if (left <= 0)
      log.error(`the certificate has expired on ${day}: put a new one there and restart`, { file });
    else if (left < SOON_MS)
      log.warn(`the certificate expires on ${day}: put a new one there and restart`, { file });
  }
}

async function readText(file: string, setting: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    const reason = (error as { code?: string }).code ?? String(error);
    const hint = reason === "EACCES" ? ": let the user read it that the trigger's worker runs as" : "";
    throw new Error(`${setting} ${file} cannot be read (${reason})${hint}`);
  }
}

function parsed<T>(problem: string, parse: () => T): T {
  try {
    return parse();
  } catch {
    throw new Error(problem);
  }
}
