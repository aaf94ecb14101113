import { X509Certificate } from "node:crypto";
import { connect, checkServerIdentity, type PeerCertificate } from "node:tls";
import { isIP } from "node:net";
import type { Clock } from "../core/clock.ts";
import { HoldfastError, messageOf, systemCode } from "../core/errors.ts";
import type { HubAddress } from "./transport-address.ts";

/** Certificates that a server shows, leaf first. Nothing about them is trusted yet. */
export interface PresentedChain {
  peer: PeerCertificate;
  chain: X509Certificate[];
}

/**
 * Shakes hands with a server only to see its certificates. Nothing is sent and nothing believed: callers compare the
 * chain with a pin or a CA that they have from elsewhere.
 */
export function presentedChain(
  address: HubAddress,
  clock: Clock,
  timeoutMs: number,
): Promise<PresentedChain> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: address.host,
      port: address.port,
      rejectUnauthorized: false,
      ALPNProtocols: ["h2"],
      ...(isIP(address.host) ? {} : { servername: address.host }),
    });
    const settle = (action: () => void) => {
      cancel();
      socket.destroy();
      action();
    };
    const cancel = clock.after(timeoutMs, () =>
      settle(() => reject(unreachable(address, `no TLS answer within ${timeoutMs / 1000} s`))),
    );
    socket.once("secureConnect", () => {
      const peer = socket.getPeerCertificate(true);
      settle(() => resolve({ peer, chain: chainOf(peer) }));
    });
    socket.on("error", (error) => settle(() => reject(unreachable(address, dialProblem(error), error))));
    socket.once("close", () =>
      settle(() => reject(unreachable(address, "the connection was closed during the TLS handshake"))),
    );
  });
}

export function unreachable(address: HubAddress, why: string, cause?: unknown): HoldfastError {
  return new HoldfastError(
    "unreachable",
    `the hub at ${address.text} cannot be reached: ${why}; check the address, that the hub runs, and the firewall between`,
    { cause },
  );
}

/** In words why dialling failed. */
export function dialProblem(error: unknown): string {
  const code = systemCode(error);
  const text = `${code ?? ""} ${messageOf(error)}`;
  if (/ECONNREFUSED/.test(text)) return "connection refused (nothing listens there)";
  if (/ENOTFOUND|EAI_AGAIN|DNS|Name resolution/i.test(text)) return "its name cannot be resolved";
  if (/EHOSTUNREACH|ENETUNREACH/.test(text)) return "no route to it";
  if (/WRONG_VERSION_NUMBER|HTTP_REQUEST|packet length|NOT_TLS/i.test(text)) return "it does not speak TLS";
  if (/ECONNRESET|hang up|disconnected|Socket closed/i.test(text)) {
    return "it closed the connection during the TLS handshake (is this a TLS port?)";
  }
  return messageOf(error);
}

/**
 * What is wrong with a server's certificate under `trusted` CAs, as an error that says what to do; null when nothing
 * is. Order matters: a wrong CA first, since dates of a stranger's certificate say nothing about this host's clock.
 */
export function certificateProblem(
  { peer, chain }: PresentedChain,
  trusted: X509Certificate[],
  address: HubAddress,
  clock: Clock,
): HoldfastError | null {
  const leaf = chain[0]!;
  const issuer = trusted.find((ca) => leaf.checkIssued(ca) && leaf.verify(ca.publicKey));
  if (issuer === undefined) {
    return new HoldfastError(
      "denied",
      `the server at ${address.text} is not the hub this host trusts: its certificate (${oneLine(leaf.subject)}) is not ` +
        `signed by the trusted CA; if the hub was set up anew, enroll this host again with a new token and pin`,
    );
  }
  for (const certificate of [leaf, issuer]) {
    const problem = validityProblem(certificate, address, clock);
    if (problem) return problem;
  }
  const mismatch = checkServerIdentity(address.host, peer);
  if (mismatch === undefined) return null;
  return new HoldfastError(
    "denied",
    `the certificate of the hub at ${address.text} is not for "${address.host}" but for ${leaf.subjectAltName ?? oneLine(leaf.subject)}; ` +
      `use one of these names, or add this name to the hub's certificate`,
  );
}

function validityProblem(
  certificate: X509Certificate,
  address: HubAddress,
  clock: Clock,
): HoldfastError | null {
  const now = clock.wall();
  const from = Date.parse(certificate.validFrom);
  const to = Date.parse(certificate.validTo);
  if (now >= from && now <= to) return null;
  const what = now < from ? "is not valid yet" : "has expired";
  return new HoldfastError(
    "unauthenticated",
    `the certificate of the hub at ${address.text} ${what}: it is valid from ${iso(from)} to ${iso(to)}, and this host's ` +
      `clock says ${iso(now)}; check this host's clock first, then the hub's certificate`,
  );
}

export function spkiPin(certificate: X509Certificate): string {
  const spki = certificate.publicKey.export({ type: "spki", format: "der" });
  return `sha256:${new Bun.CryptoHasher("sha256").update(spki).digest("hex")}`;
}

/** Every certificate in a PEM text. */
export function certificatesOf(pem: string): X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}

function chainOf(peer: PeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  const seen = new Set<string>();
  let next: (PeerCertificate & { issuerCertificate?: unknown }) | undefined = peer;
  // A self-signed certificate names itself as its issuer; a chain longer than 8 is nobody's.
  while (next?.raw !== undefined && chain.length < 8) {
    const certificate = new X509Certificate(next.raw);
    if (seen.has(certificate.fingerprint256)) break;
    seen.add(certificate.fingerprint256);
    chain.push(certificate);
    next = next.issuerCertificate as PeerCertificate | undefined;
  }
  return chain;
}

function oneLine(subject: string): string {
  return subject.replaceAll("\n", ", ");
}

function iso(ms: number): string {
  return new Date(ms).toISOString().replace(/\.\d{3}Z$/, "Z");
}
