import type { Clock } from "../../core/clock.ts";
import { HoldfastError } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import { AGENT_ID } from "../../model/agent-id.ts";
import type { EnrollRequest, EnrollResponse } from "../../protocol/gen/holdfast/v1/sync.ts";
import { type CertificateAuthority, checkCsr } from "./certificates.ts";
import { hashToken } from "./tokens.ts";

const MAX_CSR_BYTES = 8192;
const MAX_TOKEN_LENGTH = 256;
const MAX_LABELS = 64;
const CLOCK_TOLERANCE_MS = 5 * 60_000;

/** What enrollment asks of the store. */
export interface EnrollmentStore {
  readonly hubId: string;
  enroll(request: {
    tokenHash: string;
    nowMs: number;
    agent: {
      id: string;
      publicKey: string;
      certificateSerial: string;
      certificateExpiresMs: number;
      labels: Record<string, string>;
    };
  }): Promise<"ok" | "unknown" | "expired" | "used" | "taken">;
}

export interface EnrollmentOptions {
  store: EnrollmentStore;
  ca: CertificateAuthority;
  clock: Clock;
  log: Logger;
}

const HOW = "make a new one with `holdfast token create` on the hub";
const TOKEN_REFUSALS = {
  unknown: `This hub does not know the join token: check that it was copied whole and is for this hub, or ${HOW}`,
  expired: `The join token has expired: ${HOW}`,
  used: `The join token was used up already: ${HOW}`,
} as const;

/** Turns a join token and a certificate request into an agent's certificate. */
export class Enrollment {
  readonly #options: EnrollmentOptions;

  constructor(options: EnrollmentOptions) {
    this.#options = options;
  }

  /** Throws `invalid`, `unauthenticated` or `conflict`; every refusal is logged. */
  async enroll(request: EnrollRequest, peer: string): Promise<EnrollResponse> {
    const { log } = this.#options;
    const agent = request.agentId.slice(0, 64);
    try {
      const answer = await this.#enroll(request);
      log.info("agent enrolled", { agent, peer });
      return answer;
    } catch (error) {
      const { code, message } =
        error instanceof HoldfastError ? error : { code: "failed", message: String(error) };
      log.warn("enrollment refused", { agent, peer, code, reason: message });
      throw error;
    }
  }

  async #enroll(request: EnrollRequest): Promise<EnrollResponse> {
    const { store, ca, clock } = this.#options;
    checkRequest(request);
    const csr = await checkCsr(request.csr);
    const nowMs = clock.trusted();
    const identity = ca.identity(nowMs);
    // Before the certificate is made: an answer that is lost after this is given again to the same key.
    const outcome = await store.enroll({
      tokenHash: hashToken(request.token),
      nowMs,
      agent: {
        id: request.agentId,
        publicKey: csr.publicKey,
        certificateSerial: identity.serial,
        certificateExpiresMs: identity.expiresMs,
        labels: request.labels,
      },
    });
    if (outcome === "taken") throw taken(request.agentId);
    if (outcome !== "ok") throw new HoldfastError("unauthenticated", TOKEN_REFUSALS[outcome]);
    this.#checkClock(request);
    return {
      certificate: await ca.agent(request.agentId, csr, identity, nowMs),
      caCertificate: ca.der,
      hubId: store.hubId,
      wallMs: BigInt(clock.wall()),
    };
  }

  #checkClock({ agentId, wallMs }: EnrollRequest): void {
    const { clock, log } = this.#options;
    const offsetMs = clock.wall() - Number(wallMs);
    if (Math.abs(offsetMs) <= CLOCK_TOLERANCE_MS) return;
    log.warn("the clock of an agent that enrolled is far from the hub's", { agent: agentId, offsetMs });
  }
}

function checkRequest({ agentId, token, csr, labels }: EnrollRequest): void {
  if (!AGENT_ID.test(agentId)) {
    throw new HoldfastError(
      "invalid",
      "The agent id is not valid: 3 to 64 letters, digits, _ and -, starting with a letter or digit",
    );
  }
  if (token === "" || token.length > MAX_TOKEN_LENGTH) {
    throw new HoldfastError("unauthenticated", TOKEN_REFUSALS.unknown);
  }
  if (csr.length === 0 || csr.length > MAX_CSR_BYTES) {
    throw new HoldfastError(
      "invalid",
      `The certificate request has ${csr.length} bytes; 1 to ${MAX_CSR_BYTES} are taken`,
    );
  }
  const entries = Object.entries(labels);
  if (
    entries.length > MAX_LABELS ||
    entries.some(([name, value]) => name.length > 128 || value.length > 1024)
  ) {
    throw new HoldfastError(
      "invalid",
      `Too many or too long labels: ${MAX_LABELS} at most, names of 128 and values of 1,024 characters`,
    );
  }
}

function taken(id: string): HoldfastError {
  return new HoldfastError(
    "conflict",
    `Agent id ${id} is enrolled with another key: choose another id, or enroll from the home that holds its key`,
  );
}
