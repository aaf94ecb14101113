import type { GrantSummary } from "./grant.ts";
import type { Protection, ProtectionName } from "./protection.ts";
import type { EndCause, Verdict } from "./worker-end.ts";

/** How the process of an attempt ended: the verdict over it, and the most that was seen of it. */
export interface AttemptEnd {
  cause: EndCause;
  text: string;
  /** Of a script's process. */
  code?: number | null;
  signal?: string | null;
  /** Bytes. */
  memory: number;
  /** Milliseconds of processor time. */
  cpu: number;
}

/** What is known of an attempt beside its outcome. */
export interface AttemptFacts {
  /** Hash of a `WorkerFacts`; absent where no worker was asked. */
  worker?: string;
  /** Absent where the process goes on: one that serves many calls. */
  ended?: AttemptEnd;
}

/** What carried an attempt out. Stored once by the hash of its text. */
export interface WorkerFacts {
  plugin: string;
  /** `shipped with 0.1.0`, or the first digits of the SHA-256 of its file as it was then. */
  version: string;
  granted: GrantSummary;
  /** What the kernel held it to; null where that was not known. */
  protections: Record<ProtectionName, Protection["level"]> | null;
}

/** The configuration that a run was made under. Stored once by the hash of its text. */
export interface ConfigOrigin {
  /** SHA-256 of the effective configuration, the first 16 digits. */
  config: string;
  /** Plugin of each trigger. */
  triggers: Record<string, string>;
  /** Version of each rule: the hash under which its text is stored. */
  rules: Record<string, string>;
}

/** A text that is stored by its hash. */
export interface HashedText {
  hash: string;
  text: string;
}

/** Short: the hashes tell versions of one agent apart, they protect nothing. */
const HASH_DIGITS = 16;

export function hashedText(value: unknown): HashedText {
  const text = JSON.stringify(value);
  return { hash: hashOfText(text), text };
}

export function hashOfText(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex").slice(0, HASH_DIGITS);
}

/** Of the end of a worker or of a script's process. */
export function attemptEnd(
  { cause, text, peak }: Verdict,
  exit: { code?: number | null; signal?: string | null } = {},
): AttemptEnd {
  const { code, signal } = exit;
  const used = { memory: peak.memoryBytes, cpu: Math.round(peak.cpuMs) };
  return { cause, text, ...(code === undefined ? {} : { code }), ...(signal ? { signal } : {}), ...used };
}
