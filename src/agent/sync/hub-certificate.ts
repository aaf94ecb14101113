import type { X509Certificate } from "node:crypto";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";

const SERVER_AUTH = "1.3.6.1.5.5.7.3.1";

/**
 * Why a certificate that came through a broker is not the hub's, as an error; null when it is. There is no host name to
 * compare: only the hub has certificates for servers from its CA, and an agent's is none.
 */
export function hubCertificateProblem(
  certificate: X509Certificate,
  authorities: X509Certificate[],
  clock: Clock,
): HoldfastError | null {
  const issued = authorities.some((ca) => certificate.checkIssued(ca) && certificate.verify(ca.publicKey));
  // `keyUsage` is the extended key usage here, as in Node.
  if (!issued || certificate.ca || !certificate.keyUsage?.includes(SERVER_AUTH)) {
    return new HoldfastError("denied", "the answer is not from the hub this host trusts");
  }
  const now = clock.trusted();
  if (now <= Date.parse(certificate.validTo)) return null;
  return new HoldfastError(
    "unauthenticated",
    `the hub's certificate has expired on ${certificate.validTo}; check this host's clock first, then the hub's certificate`,
    { details: { refused: true } },
  );
}
