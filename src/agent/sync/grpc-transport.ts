import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Hello } from "../../protocol/gen/holdfast/v1/sync.ts";
import type { Session, Transport } from "../../protocol/transport.ts";
import { type HubAddress, parseHubUrl } from "../../protocol/transport-address.ts";
import { openSyncClient } from "../../protocol/transport-grpc.ts";
import {
  certificateProblem,
  certificatesOf,
  dialProblem,
  presentedChain,
  unreachable,
} from "../../protocol/transport-tls.ts";
import { type AgentCertificates, readCertificates } from "./certificates.ts";
import { GrpcSession } from "./grpc-session.ts";

export interface GrpcTransportOptions {
  /** `grpcs://host:port` */
  url: string;
  /** Folder with ca.crt, agent.crt and agent.key. */
  certificates: string;
  clock: Clock;
  /** From dialling to the hub's welcome. grpc-js has no time-out of its own for a peer that never finishes TLS. */
  connectTimeoutMs?: number;
}

const CONNECT_TIMEOUT_MS = 10_000;
const EXPLAIN_TIMEOUT_MS = 2000;

export interface GrpcTransport extends Transport {
  /** Resolves when the hub is there and shows its certificate. Opens no session, which would end the one in use. */
  probe(signal: AbortSignal): Promise<void>;
}

/** Frames over mTLS gRPC; one connection a session, so that nothing of a broken one is used again. */
export function grpcTransport(options: GrpcTransportOptions): GrpcTransport {
  const address = parseHubUrl(options.url);
  const { clock } = options;
  const timeoutMs = options.connectTimeoutMs ?? CONNECT_TIMEOUT_MS;
  return {
    name: "grpc",
    async probe() {
      const { ca } = await readCertificates(options.certificates);
      const chain = await presentedChain(address, clock, EXPLAIN_TIMEOUT_MS);
      const problem = certificateProblem(chain, certificatesOf(ca), address, clock);
      if (problem) throw problem;
    },
    async connect(hello: Hello, signal: AbortSignal): Promise<Session> {
      signal.throwIfAborted();
      const certificates = await readCertificates(options.certificates);
      const client = await openSyncClient(address, certificates);
      const session = new GrpcSession(client, clock, certificates.identity.key);
      const onAbort = () => session.abandon("the agent is stopping");
      signal.addEventListener("abort", onAbort, { once: true });
      const cancel = clock.after(timeoutMs, () =>
        session.abandon(`no TLS handshake and welcome within ${timeoutMs / 1000} s`),
      );
      try {
        await session.start(hello);
        return session;
      } catch (error) {
        signal.throwIfAborted();
        throw await explain(error, certificates, address, clock);
      } finally {
        cancel();
        signal.removeEventListener("abort", onAbort);
      }
    },
  };
}

/**
 * grpc-js reports a failed handshake as one line of text. Where that hints at certificates, the chain is fetched once
 * more, to say exactly what is wrong with it and what to do.
 */
async function explain(
  error: unknown,
  certificates: AgentCertificates,
  address: HubAddress,
  clock: Clock,
): Promise<HoldfastError> {
  if (error instanceof HoldfastError && error.code !== "unreachable") return error;
  const text = error instanceof Error ? error.message : String(error);
  if (/cert|issuer|signature|altname|self.signed|ssl|tls|verif/i.test(text) && !/within/.test(text)) {
    try {
      const chain = await presentedChain(address, clock, EXPLAIN_TIMEOUT_MS);
      const problem = certificateProblem(chain, certificatesOf(certificates.ca), address, clock);
      if (problem) return problem;
    } catch (probe) {
      if (probe instanceof HoldfastError) return probe;
    }
  }
  return unreachable(address, dialProblem(error), error);
}
