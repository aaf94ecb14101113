import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { connect } from "node:tls";
import { type AgentCertificates, readCertificates } from "../../agent/sync/certificates.ts";
import type { Clock } from "../../core/clock.ts";
import { messageOf } from "../../core/errors.ts";
import type { DoctorCheck } from "./report.ts";

const TIMEOUT_MS = 5_000;

/** Enrolled, with a certificate that counts now, and a hub that answers TLS with one of the agent's CA. */
export async function hubCheck(url: string, certificates: string, clock: Clock): Promise<DoctorCheck> {
  const name = "hub";
  const again = "enroll again with a join token: holdfast agent enroll";
  let pems: AgentCertificates;
  try {
    pems = await readCertificates(certificates);
  } catch (error) {
    return { name, state: "failed", detail: messageOf(error) };
  }
  const age = validity(pems.identity.certificate, clock.wall());
  if (age !== null) return { name, state: "failed", detail: age, fix: again };
  const started = clock.mono();
  const problem = await handshake(url, pems, clock);
  if (problem === null) {
    const took = Math.round(clock.mono() - started);
    return {
      name,
      state: "ok",
      detail: `${url} answered in ${took} ms with a certificate of this agent's CA`,
    };
  }
  return {
    name,
    state: "failed",
    detail: `${url} cannot be reached: ${problem}`,
    fix: "see that the hub runs, and that no firewall is between; the agent works on without it",
  };
}

function validity(pem: string, now: number): string | null {
  try {
    const { validFrom, validTo } = new X509Certificate(pem);
    if (Date.parse(validTo) <= now) return `the agent's certificate has expired (${validTo})`;
    if (Date.parse(validFrom) > now)
      return `the agent's certificate is not valid before ${validFrom}: see the clock`;
    return null;
  } catch (error) {
    return `the agent's certificate cannot be read: ${messageOf(error)}`;
  }
}

/** What keeps a TLS connection from coming about, or null. */
async function handshake(
  url: string,
  { ca, identity }: AgentCertificates,
  clock: Clock,
): Promise<string | null> {
  const { hostname, port } = new URL(url.replace(/^grpcs:/, "https:"));
  const host = hostname.replace(/^\[|\]$/g, "");
  const ending = Promise.withResolvers<string | null>();
  const socket = connect({
    host,
    port: Number(port || 443),
    ca,
    cert: identity.certificate,
    key: identity.key,
    ALPNProtocols: ["h2"],
    ...(isIP(host) === 0 ? { servername: host } : {}),
  });
  socket.once("secureConnect", () =>
    ending.resolve(
      socket.authorized ? null : String(socket.authorizationError ?? "its certificate is refused"),
    ),
  );
  socket.once("error", (error) => ending.resolve(messageOf(error)));
  socket.once("close", () => ending.resolve("the connection was closed"));
  const cancel = clock.after(TIMEOUT_MS, () => ending.resolve(`no answer within ${TIMEOUT_MS / 1000} s`));
  try {
    return await ending.promise;
  } finally {
    cancel();
    socket.on("error", () => {});
    socket.destroy();
  }
}
