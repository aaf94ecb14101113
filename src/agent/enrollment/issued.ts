import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError, systemCode } from "../../core/errors.ts";
import type { EnrollResponse } from "../../protocol/gen/holdfast/v1/sync.ts";
import { spkiPin } from "../../protocol/transport-tls.ts";

const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";

/** Checks a hub's answer before anything of it is kept. Throws `corrupt` naming what is wrong. */
export function checkIssued(
  answer: EnrollResponse,
  expected: { id: string; publicKey: Buffer; pin: string },
  clock: Clock,
): { certificate: X509Certificate; ca: X509Certificate } {
  const [certificate, ca] = [parse(answer.certificate), parse(answer.caCertificate)];
  if (certificate === null || ca === null) throw bad("it holds no readable certificate");
  if (spkiPin(ca) !== expected.pin || !ca.ca) throw bad("its CA is not the pinned one");
  if (!certificate.checkIssued(ca) || !certificate.verify(ca.publicKey)) throw bad("its CA did not sign it");
  if (certificate.subject !== `CN=${expected.id}`) throw bad(`it is for "${certificate.subject}"`);
  if (certificate.subjectAltName !== `URI:urn:holdfast:agent:${expected.id}`)
    throw bad("it names another agent");
  const key = certificate.publicKey.export({ type: "spki", format: "der" });
  if (!key.equals(expected.publicKey)) throw bad("it is for another key");
  if (!certificate.keyUsage?.includes(CLIENT_AUTH) || certificate.ca)
    throw bad("it is not made for an agent");
  if (expiryOf(certificate) <= clock.trusted()) {
    throw bad(`it expired on ${certificate.validTo}; compare the clocks of this host and the hub`);
  }
  return { certificate, ca };
}

export function expiryOf(certificate: X509Certificate): number {
  return Date.parse(certificate.validTo);
}

/** What an earlier enrollment left in the folder; null when there is nothing whole. */
export async function earlier(
  directory: string,
): Promise<{ id: string; caPin: string; expiresMs: number } | null> {
  const [certificate, ca] = await Promise.all(
    ["agent.crt", "ca.crt"].map(async (name) => {
      try {
        return parse(await readFile(join(directory, name)));
      } catch (error) {
        if (systemCode(error) === "ENOENT") return null;
        throw new HoldfastError(
          "failed",
          `cannot read ${join(directory, name)}: ${String(systemCode(error))}`,
        );
      }
    }),
  );
  if (!certificate || !ca) return null;
  const id = /^CN=(.+)$/.exec(certificate.subject)?.[1] ?? "";
  return { id, caPin: spkiPin(ca), expiresMs: expiryOf(certificate) };
}

function parse(bytes: Buffer): X509Certificate | null {
  try {
    return new X509Certificate(bytes);
  } catch {
    return null;
  }
}

function bad(why: string): HoldfastError {
  return new HoldfastError("corrupt", `the hub's answer was refused and nothing was kept: ${why}`);
}
