import { diffieHellman, hkdfSync, type KeyObject, type X509Certificate } from "node:crypto";
import { HoldfastError } from "../core/errors.ts";
import type { CborMap } from "./cbor.ts";
import {
  coseDecrypt0,
  coseEncrypt0,
  coseSign1,
  coseVerify1,
  encodeHeader0,
  HEADER,
  readEncrypt0,
} from "./cose.ts";

export const NONCE_BYTES = 32;
const SESSION_BYTES = 16;
const KEY_BYTES = 32;
const IV_BYTES = 12;
const COUNTER_BYTES = 8;
const LABEL = "holdfast mqtt v1";

/** One side of a session as the other must prove it. */
export interface Party {
  certificate: X509Certificate;
  nonce: Uint8Array;
}

export interface SessionParties {
  agentId: string;
  agent: Party;
  hub: Party;
}

/** Of one direction. */
interface Direction {
  topic: string;
  key: Uint8Array;
  /** The counter of each message is added to it (RFC 9052, 3.1: Partial IV). */
  contextIv: Uint8Array;
}

export interface SessionKeys {
  /** 16 bytes that name the session. */
  id: Buffer;
  up: Direction;
  down: Direction;
}

/**
 * The keys of a session: HKDF-SHA256 over the ECDH secret of the two certificates' keys, salted with both nonces and bound
 * to the agent's id and to both certificates. Either side computes the same from its own key and the other's certificate.
 */
export function sessionKeys(
  { agentId, agent, hub }: SessionParties,
  own: { privateKey: KeyObject; peer: X509Certificate },
  topics: { up: string; down: string },
): SessionKeys {
  const secret = diffieHellman({ privateKey: own.privateKey, publicKey: own.peer.publicKey });
  const info = Buffer.concat([
    Buffer.from(`${LABEL}\0${agentId}\0`),
    fingerprint(agent.certificate),
    fingerprint(hub.certificate),
  ]);
  const length = SESSION_BYTES + 2 * (KEY_BYTES + IV_BYTES);
  const material = Buffer.from(
    hkdfSync("sha256", secret, Buffer.concat([agent.nonce, hub.nonce]), info, length),
  );
  let offset = 0;
  const take = (bytes: number) => material.subarray(offset, (offset += bytes));
  const id = take(SESSION_BYTES);
  const direction = (topic: string) => ({ topic, key: take(KEY_BYTES), contextIv: take(IV_BYTES) });
  return { id, up: direction(topics.up), down: direction(topics.down) };
}

/** Seals messages of one direction: signed by the sender's certificate key, then encrypted under the session's. */
export class Sealer {
  readonly #session: Uint8Array;
  readonly #direction: Direction;
  readonly #signingKey: KeyObject;
  #counter = 0;

  constructor(session: Uint8Array, direction: Direction, signingKey: KeyObject) {
    this.#session = session;
    this.#direction = direction;
    this.#signingKey = signingKey;
  }

  seal(payload: Uint8Array): Buffer {
    const counter = counterBytes(++this.#counter);
    const header: CborMap = new Map<unknown, unknown>([
      [HEADER.kid, this.#session],
      [HEADER.partialIv, counter],
    ]);
    // The signature covers the outer header, so that it says in which session, and as which message, this was sent.
    const signed = coseSign1({ header: new Map(), payload }, this.#signingKey, encodeHeader0(header));
    return coseEncrypt0(header, signed, keyAt(this.#direction, counter), Buffer.from(this.#direction.topic));
  }
}

/** Why a message was dropped. */
export type DropReason = "malformed" | "other session" | "replayed" | "forged" | "missing before";

export class DroppedMessage extends HoldfastError {
  readonly reason: DropReason;

  constructor(reason: DropReason, why: string) {
    super("unauthenticated", `a message was dropped (${reason}): ${why}`);
    this.reason = reason;
  }
}

/**
 * Opens messages of one direction. Each is numbered, and only the next one is taken: one that came before is a duplicate or
 * replayed, and one that is further on says that others were lost, after which a session cannot go on.
 */
export class Opener {
  readonly #session: Uint8Array;
  readonly #direction: Direction;
  readonly #peer: KeyObject;
  #last = 0;

  constructor(session: Uint8Array, direction: Direction, peer: KeyObject) {
    this.#session = session;
    this.#direction = direction;
    this.#peer = peer;
  }

  /** Throws a DroppedMessage; only `missing before` is proved to come from the peer. */
  open(message: Uint8Array): Uint8Array {
    const sealed = guard("malformed", () => readEncrypt0(message));
    const session = sealed.header.get(HEADER.kid);
    const counter = sealed.header.get(HEADER.partialIv);
    if (
      !(session instanceof Uint8Array) ||
      !(counter instanceof Uint8Array) ||
      counter.length !== COUNTER_BYTES
    ) {
      throw new DroppedMessage("malformed", "it names no session and number");
    }
    if (Buffer.compare(session, this.#session) !== 0) {
      throw new DroppedMessage("other session", "it belongs to another session");
    }
    const number = Number(Buffer.from(counter).readBigUInt64BE());
    if (number <= this.#last) throw new DroppedMessage("replayed", `message ${number} was here already`);
    const payload = guard("forged", () => {
      const topic = Buffer.from(this.#direction.topic);
      const signed = coseDecrypt0(sealed, keyAt(this.#direction, counter), topic);
      return coseVerify1(signed, () => this.#peer, sealed.headerBytes).payload;
    });
    if (number !== this.#last + 1) {
      throw new DroppedMessage("missing before", `message ${number} came after ${this.#last}`);
    }
    this.#last = number;
    return payload;
  }
}

/** Which session a message says it is of, in hex; null when it is none of a session. Nothing is proved by it. */
export function sessionOf(message: Uint8Array): string | null {
  try {
    const session = readEncrypt0(message).header.get(HEADER.kid);
    return session instanceof Uint8Array ? Buffer.from(session).toString("hex") : null;
  } catch {
    return null;
  }
}

function guard<T>(reason: DropReason, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new DroppedMessage(reason, error instanceof Error ? error.message : String(error));
  }
}

function keyAt({ key, contextIv }: Direction, counter: Uint8Array): { key: Uint8Array; iv: Uint8Array } {
  const iv = Buffer.from(contextIv);
  const from = IV_BYTES - COUNTER_BYTES;
  for (const [index, byte] of counter.entries()) iv[from + index]! ^= byte;
  return { key, iv };
}

function counterBytes(counter: number): Buffer {
  const bytes = Buffer.alloc(COUNTER_BYTES);
  bytes.writeBigUInt64BE(BigInt(counter));
  return bytes;
}

function fingerprint(certificate: X509Certificate): Buffer {
  return Buffer.from(new Bun.CryptoHasher("sha256").update(certificate.raw).digest());
}
