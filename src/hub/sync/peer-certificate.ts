import { X509Certificate } from "node:crypto";
import type { TLSSocket } from "node:tls";
import { HoldfastError } from "../../core/errors.ts";

export interface PeerIdentity {
  agentId: string;
  /** Lower-case hex. */
  serial: string;
  /** SPKI, DER. */
  publicKey: Uint8Array;
}

const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const ID = /^[a-zA-Z0-9][a-zA-Z0-9_-]{2,63}$/;

/**
 * Who is at the other end. The TLS handshake has proved that the peer holds the key of the certificate it showed, and
 * `authorized` says that OpenSSL could chain it to our CA for use as a client. That is checked here once more, with our
 * own clock, since the listener has to let clients without a certificate in (to enroll). Throws `unauthenticated`.
 */
export function peerIdentity(
  socket: Pick<TLSSocket, "authorized" | "authorizationError" | "getPeerCertificate"> | undefined,
  authorities: X509Certificate[],
  trustedMs: number,
): PeerIdentity {
  const raw = socket?.getPeerCertificate()?.raw;
  if (socket === undefined || raw === undefined)
    throw refused("no client certificate was shown", "enroll this agent");
  const certificate = new X509Certificate(raw);
  if (!socket.authorized) throw refused(...explain(String(socket.authorizationError), certificate));
  return certifiedAgent(certificate, authorities, trustedMs);
}

/**
 * Which agent a certificate names, if it is one of our CA for an agent and has not expired. That the peer holds its key
 * is for the caller to know. Throws `unauthenticated`.
 */
export function certifiedAgent(
  certificate: X509Certificate,
  authorities: X509Certificate[],
  trustedMs: number,
): PeerIdentity {
  const issuer = authorities.find((ca) => certificate.checkIssued(ca) && certificate.verify(ca.publicKey));
  if (issuer === undefined)
    throw refused("the client certificate is not of this hub's CA", "enroll this agent anew");
  if (certificate.ca) throw refused("the client certificate is a CA's", "enroll this agent");
  if (trustedMs > Date.parse(certificate.validTo)) throw refused(...explain("CERT_HAS_EXPIRED", certificate));
  // `keyUsage` is the extended key usage here, as in Node.
  if (!certificate.keyUsage?.includes(CLIENT_AUTH)) throw refused(...explain("INVALID_PURPOSE", certificate));
  return {
    agentId: idOf(certificate),
    serial: certificate.serialNumber.toLowerCase(),
    publicKey: new Uint8Array(certificate.publicKey.export({ type: "spki", format: "der" })),
  };
}

function idOf(certificate: X509Certificate): string {
  const id = /^CN=(.+)$/.exec(certificate.subject)?.[1] ?? "";
  if (!ID.test(id) || certificate.subjectAltName !== `URI:urn:holdfast:agent:${id}`) {
    throw refused("the client certificate names no agent", "enroll this agent");
  }
  return id;
}

function explain(problem: string, certificate: X509Certificate): [string, string] {
  if (problem.includes("CERT_HAS_EXPIRED")) {
    return [`the client certificate expired on ${certificate.validTo}`, "enroll this agent again"];
  }
  if (problem.includes("CERT_NOT_YET_VALID")) {
    return [`the client certificate is valid only from ${certificate.validFrom}`, "check the hub's clock"];
  }
  if (problem.includes("INVALID_PURPOSE")) {
    return ["the client certificate is not made for an agent", "enroll this agent"];
  }
  return [`the client certificate is not of this hub's CA (${problem})`, "enroll this agent with this hub"];
}

function refused(why: string, advice: string): HoldfastError {
  return new HoldfastError("unauthenticated", `${why}; ${advice}`);
}
