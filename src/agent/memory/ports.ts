import type { Json } from "../../model/json.ts";
import type { MemoryEntry, MemoryListing } from "../../model/memory.ts";

/** What the memory needs of the store (see src/agent/store/sharing-port.ts for the contract). */
export interface MemoryStorePort {
  memoryGet(namespace: string, key: string, nowMs: number): Promise<MemoryEntry | null>;
  memoryList(filter: {
    namespace: string | null;
    prefix: string;
    after: [namespace: string, key: string];
    limit: number;
    nowMs: number;
  }): Promise<MemoryListing[]>;
  memoryOf(
    namespace: string,
  ): Promise<{ key: string; version: number; expiresMs: number | null; value: Json }[]>;
  memoryPut(put: {
    namespace: string;
    key: string;
    text: string;
    expiresMs: number | null;
    nowMs: number;
    token: number | null;
  }): Promise<number>;
  memoryDelete(at: { namespace: string; key: string; nowMs: number; token: number | null }): Promise<boolean>;
  memoryCheckOut(at: {
    namespace: string;
    key: string;
    nowMs: number;
  }): Promise<{ token: number; exists: boolean; value: Json }>;
  memoryCheckIn(namespace: string, key: string, token: number): Promise<boolean>;
  memoryFree(): Promise<void>;
  memorySweep(nowMs: number): Promise<number>;
}
