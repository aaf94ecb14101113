import type { Json } from "../../model/json.ts";
import type { MemoryEntry, MemoryListing } from "../../model/memory.ts";
import type { SealedKey, SealedSecret } from "../../model/secret.ts";
import type { SetParameter } from "../../model/shared-parameter.ts";
import type { Silence } from "../../model/silence.ts";
import type { MemoryFilter } from "./memory-reads.ts";

/** One write of the memory; times are trusted Unix milliseconds. */
export interface MemoryPut {
  namespace: string;
  key: string;
  /** JSON. */
  text: string;
  expiresMs: number | null;
  nowMs: number;
  /** Of a checkout; null writes whoever holds the key, who is told at its own write. */
  token: number | null;
}

/** What plugins share (row G-11), as the store keeps it. */
export interface MemoryStore {
  memoryGet(namespace: string, key: string, nowMs: number): Promise<MemoryEntry | null>;
  memoryList(filter: MemoryFilter): Promise<MemoryListing[]>;
  /** Everything of a namespace, also what is over. */
  memoryOf(namespace: string): Promise<KnownMemory[]>;
  /** Resolves with the number of the write. Throws `expired` for a token that counts no more, `exhausted` when it is full. */
  memoryPut(put: MemoryPut): Promise<number>;
  /** False when there was none. */
  memoryDelete(at: { namespace: string; key: string; nowMs: number; token: number | null }): Promise<boolean>;
  /** Takes the key from whoever holds it. */
  memoryCheckOut(at: {
    namespace: string;
    key: string;
    nowMs: number;
  }): Promise<{ token: number; exists: boolean; value: Json }>;
  memoryCheckIn(namespace: string, key: string, token: number): Promise<boolean>;
  /** Nobody holds anything any more: at the start of an agent. */
  memoryFree(): Promise<void>;
  /** Deletes some of what is over; how many. */
  memorySweep(nowMs: number): Promise<number>;
}

/** Parameters that people have set (row G-05). */
export interface ParameterStore {
  parameters(): Promise<SetParameter[]>;
  setParameter(parameter: SetParameter): Promise<void>;
  /** False when there was none. */
  removeParameter(namespace: string | null, name: string): Promise<boolean>;
}

/** Sealed secrets (row S-26); nothing here is readable without a master key. */
export interface SecretStore {
  sealedSecrets(): Promise<{ keys: SealedKey[]; secrets: SealedSecret[] }>;
  /** In one transaction. With a key, older ones that open nothing any more go. */
  putSecrets(put: { key: SealedKey | null; secrets: SealedSecret[] }): Promise<void>;
  /** False when there was none. */
  removeSecret(namespace: string | null, name: string): Promise<boolean>;
}

/** What people have silenced. */
export interface SilenceStore {
  /** In the order in which they were made. Of those that are over the newest thousand are kept. */
  silences(): Promise<Silence[]>;
  /** Makes it, or takes over how it stands: whether it was ended, and what it counts. `nowMs`: trusted time. */
  putSilence(silence: Silence, nowMs: number): Promise<void>;
}

export interface KnownMemory {
  key: string;
  version: number;
  expiresMs: number | null;
  value: Json;
}
