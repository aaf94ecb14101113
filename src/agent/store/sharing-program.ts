import type { SetParameter } from "../../model/shared-parameter.ts";
import type { Silence } from "../../model/silence.ts";
import type { StorageProgram } from "../../storage/storage-thread.ts";
import type { MemoryCheckoutCommand, MemoryDeleteCommand, MemoryPutCommand } from "./commands.ts";
import type { MemoryFilter } from "./memory-reads.ts";
import type { PackedKey, PackedSecret } from "./secret-rows.ts";
import type { StoreParts } from "./store-parts.ts";

/** What plugins share, on the storage thread. */
export function sharingWrites({
  memory,
  parameters,
  secrets,
  silences,
}: StoreParts): StorageProgram["writes"] {
  return {
    memoryPut: (command: MemoryPutCommand, text: string) => memory.put(command, text),
    memoryDelete: (command: MemoryDeleteCommand) => memory.delete(command),
    memoryCheckOut: (command: MemoryCheckoutCommand) => memory.checkOut(command),
    memoryCheckIn: (args: [namespace: string, key: string, token: number]) => memory.checkIn(...args),
    memoryFree: () => memory.freeAll(),
    memorySweep: (nowMs: number) => memory.sweep(nowMs),
    setParameter: (parameter: SetParameter) => parameters.put(parameter),
    putSecrets: (put: { key: PackedKey | null; secrets: PackedSecret[] }) => secrets.put(put),
    removeSecret: (args: [namespace: string | null, name: string]) => secrets.delete(...args),
    putSilence: (args: { silence: Silence; nowMs: number }) => {
      silences.put(args.silence);
      silences.trim(args.nowMs);
    },
    removeParameter: (args: [namespace: string | null, name: string]) => parameters.delete(...args),
  };
}

export function sharingReads({
  memoryReads,
  parameters,
  secrets,
  silences,
}: StoreParts): StorageProgram["reads"] {
  return {
    memoryGet: (args: [namespace: string, key: string, nowMs: number]) => memoryReads.get(...args),
    memoryList: (filter: MemoryFilter) => memoryReads.list(filter),
    parameters: () => parameters.all(),
    sealedSecrets: () => secrets.all(),
    silences: () => silences.all(),
    memoryOf: (namespace: string) => memoryReads.namespace(namespace),
  };
}
