import type { X509Certificate } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { ServiceError } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import { AGENT_ID } from "../../model/agent-id.ts";
import type { EnrollRequest, EnrollResponse } from "../../protocol/gen/holdfast/v1/sync.ts";
import { type HubAddress, parseHubUrl } from "../../protocol/transport-address.ts";
import { hubError, openSyncClient } from "../../protocol/transport-grpc.ts";
import {
  certificateProblem,
  dialProblem,
  presentedChain,
  spkiPin,
  unreachable,
} from "../../protocol/transport-tls.ts";
import { agentKey, type AgentKey, certificateRequest } from "./agent-key.ts";
import { checkIssued, earlier, expiryOf } from "./issued.ts";
import { writeWhole } from "./write-file.ts";

export interface EnrollOptions {
  /** `grpcs://host:port` */
  url: string;
  /** Used once and stored nowhere. */
  token: string;
  /** `sha256:<64 hex>` of the public key of the hub's CA. */
  pin: string;
  id: string;
  labels: Record<string, string>;
  /** `config/certificates` of the agent's home: gets agent.key (0600), agent.crt and ca.crt. */
  directory: string;
  clock: Clock;
  timeoutMs?: number;
}

export interface Enrollment {
  /** Null when the agent was enrolled before and nobody was asked. */
  hubId: string | null;
  expiresMs: number;
  /** The folder already held a valid certificate of this id and hub; nothing was done. */
  already: boolean;
  /** Hub's clock minus this host's. */
  clockOffsetMs: number | null;
}

/** A host enrolls once; a busy hub, or a machine that starts both for the first time, needs longer than for a call. */
const TIMEOUT_MS = 30_000;

/**
 * Enrolls this host: pin → key made here → CSR → certificate. The hub's CA is believed only because of the pin, and the
 * token is sent only to a server that this CA vouches for. Throws `usage`, `unreachable`, `denied` (wrong pin or
 * name), `unauthenticated` (clock; the hub's word on the token), `conflict`; then nothing is left behind but a key
 * that the hub may know already.
 */
export async function enrollAgent(options: EnrollOptions): Promise<Enrollment> {
  const { address, pin } = checkOptions(options);
  const before = await enrolledBefore(options, pin);
  if (before !== null) return before;
  const ca = await pinnedCa(address, pin, options);
  const keyPath = join(options.directory, "agent.key");
  const key = await agentKey(keyPath);
  const answer = await ask(address, ca, key, options).catch(async (error: unknown) => {
    // The hub has said no: it does not know this key. After a lost answer it may, so that the key has to stay.
    if (error instanceof RefusedByHub && key.made) await rm(keyPath, { force: true });
    throw error instanceof RefusedByHub ? error.told : error;
  });
  const issued = checkIssued(answer, { id: options.id, publicKey: key.publicKey, pin }, options.clock);
  await writeWhole(join(options.directory, "ca.crt"), pemOf(issued.ca), 0o640);
  // Last: an agent is enrolled when this file is there.
  await writeWhole(join(options.directory, "agent.crt"), pemOf(issued.certificate), 0o640);
  return {
    hubId: answer.hubId,
    expiresMs: expiryOf(issued.certificate),
    already: false,
    clockOffsetMs: Number(answer.wallMs) - options.clock.wall(),
  };
}

function checkOptions(options: EnrollOptions): { address: HubAddress; pin: string } {
  if (process.env.NODE_TLS_REJECT_UNAUTHORIZED === "0") {
    throw new HoldfastError(
      "denied",
      "NODE_TLS_REJECT_UNAUTHORIZED=0 is set, which switches certificate checks off: unset it to enroll",
    );
  }
  const pin = options.pin.trim().toLowerCase();
  if (!/^sha256:[0-9a-f]{64}$/.test(pin)) {
    throw new HoldfastError(
      "usage",
      `"${options.pin.slice(0, 100)}" is not a pin: it looks like sha256: and 64 hex digits, as "holdfast hub init" prints it`,
    );
  }
  if (!AGENT_ID.test(options.id)) {
    throw new HoldfastError(
      "usage",
      `"${options.id.slice(0, 100)}" is not an agent id: write 3 to 64 letters, digits, _ and -, starting with a letter or digit`,
    );
  }
  if (options.token.trim() === "") throw new HoldfastError("usage", "the join token is empty");
  return { address: parseHubUrl(options.url), pin };
}

async function enrolledBefore(options: EnrollOptions, pin: string): Promise<Enrollment | null> {
  const found = await earlier(options.directory);
  if (found === null || found.expiresMs <= options.clock.trusted()) return null;
  if (found.id === options.id && found.caPin === pin) {
    return { hubId: null, expiresMs: found.expiresMs, already: true, clockOffsetMs: null };
  }
  const what = found.id === options.id ? `with another hub (CA ${found.caPin})` : `as agent "${found.id}"`;
  throw new HoldfastError(
    "conflict",
    `this agent is already enrolled ${what}: move the files in ${options.directory} away first, if that is what you want`,
  );
}

/** The CA certificate in the server's own chain that has the pin, after the server proved to be one of its servers. */
async function pinnedCa(address: HubAddress, pin: string, options: EnrollOptions): Promise<X509Certificate> {
  const shown = await presentedChain(address, options.clock, options.timeoutMs ?? TIMEOUT_MS);
  const authorities = shown.chain.filter((certificate) => certificate.ca);
  const ca = authorities.find((certificate) => spkiPin(certificate) === pin);
  if (ca === undefined) {
    const pins = authorities.map(spkiPin).join(", ") || "none: the server shows no CA certificate";
    throw new HoldfastError(
      "denied",
      `the server at ${address.text} is not the hub of this pin: expected ${pin}, presented ${pins}. ` +
        `Compare the pin with the one on the hub ("holdfast hub status"); if they differ, somebody may be in between. Nothing was sent.`,
    );
  }
  const problem = certificateProblem(shown, [ca], address, options.clock);
  if (problem !== null) throw problem;
  return ca;
}

/** Wraps what the hub itself said, as opposed to an answer that never came. */
class RefusedByHub extends Error {
  readonly told: HoldfastError;
  constructor(told: HoldfastError) {
    super(told.message);
    this.told = told;
  }
}

async function ask(
  address: HubAddress,
  ca: X509Certificate,
  key: AgentKey,
  { id, token, labels, clock, timeoutMs = TIMEOUT_MS }: EnrollOptions,
): Promise<EnrollResponse> {
  const csr = await certificateRequest(key, id);
  const request: EnrollRequest = {
    agentId: id,
    token: token.trim(),
    csr,
    labels,
    wallMs: BigInt(clock.wall()),
  };
  const [client, { Metadata }] = await Promise.all([
    openSyncClient(address, { ca: pemOf(ca) }),
    import("@grpc/grpc-js"),
  ]);
  let cancel = () => {};
  try {
    return await new Promise<EnrollResponse>((resolve, reject) => {
      const call = client.enroll(request, new Metadata(), (error: ServiceError | null, answer) => {
        if (error === null) return resolve(answer);
        const told = hubError(error);
        reject(told ? new RefusedByHub(told) : unreachable(address, dialProblem(error), error));
      });
      cancel = clock.after(timeoutMs, () => {
        reject(
          new HoldfastError(
            "timed_out",
            `the hub at ${address.text} did not answer within ${timeoutMs / 1000} s; run the same command again`,
          ),
        );
        call.cancel();
      });
    });
  } finally {
    cancel();
    client.close();
  }
}

function pemOf(certificate: X509Certificate): string {
  return certificate.toString();
}
