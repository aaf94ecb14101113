import type { Json } from "../../model/json.ts";
import type { MemoryEntry, MemoryListing } from "../../model/memory.ts";
import type { SealedKey, SealedSecret } from "../../model/secret.ts";
import type { SetParameter } from "../../model/shared-parameter.ts";
import type { Silence } from "../../model/silence.ts";
import type { MemoryFilter } from "./memory-reads.ts";
import type {
  KnownMemory,
  MemoryPut,
  MemoryStore,
  ParameterStore,
  SecretStore,
  SilenceStore,
} from "./sharing-port.ts";
import type { PackedKey, PackedSecret } from "./secret-rows.ts";
import { StoreConnection } from "./store-connection.ts";

/** The main side of what plugins share. */
export class SharingStore
  extends StoreConnection
  implements MemoryStore, ParameterStore, SecretStore, SilenceStore
{
  async memoryGet(namespace: string, key: string, nowMs: number): Promise<MemoryEntry | null> {
    return await this.client.read("memoryGet", [namespace, key, nowMs]);
  }

  async memoryList(filter: MemoryFilter): Promise<MemoryListing[]> {
    return await this.client.read("memoryList", filter);
  }

  async memoryOf(namespace: string): Promise<KnownMemory[]> {
    return JSON.parse(await this.client.read<string>("memoryOf", namespace)) as KnownMemory[];
  }

  async memoryPut({ text, ...command }: MemoryPut): Promise<number> {
    return await this.client.write("memoryPut", command, text);
  }

  async memoryDelete(command: {
    namespace: string;
    key: string;
    nowMs: number;
    token: number | null;
  }): Promise<boolean> {
    return await this.client.write("memoryDelete", command);
  }

  async memoryCheckOut(command: {
    namespace: string;
    key: string;
    nowMs: number;
  }): Promise<{ token: number; exists: boolean; value: Json }> {
    const { token, value } = await this.client.write<{ token: number; value: string | null }>(
      "memoryCheckOut",
      command,
    );
    return { token, exists: value !== null, value: value === null ? null : (JSON.parse(value) as Json) };
  }

  async memoryCheckIn(namespace: string, key: string, token: number): Promise<boolean> {
    return await this.client.write("memoryCheckIn", [namespace, key, token]);
  }

  async memoryFree(): Promise<void> {
    await this.client.write("memoryFree", null);
  }

  async memorySweep(nowMs: number): Promise<number> {
    return await this.client.write("memorySweep", nowMs);
  }

  async parameters(): Promise<SetParameter[]> {
    return await this.client.read("parameters");
  }

  async setParameter(parameter: SetParameter): Promise<void> {
    await this.client.write("setParameter", parameter);
  }

  async removeParameter(namespace: string | null, name: string): Promise<boolean> {
    return await this.client.write("removeParameter", [namespace, name]);
  }

  async sealedSecrets(): Promise<{ keys: SealedKey[]; secrets: SealedSecret[] }> {
    const { keys, secrets } = await this.client.read<{ keys: PackedKey[]; secrets: PackedSecret[] }>(
      "sealedSecrets",
    );
    return { keys: keys.map(unpacked), secrets: secrets.map(unpacked) };
  }

  async putSecrets({ key, secrets }: { key: SealedKey | null; secrets: SealedSecret[] }): Promise<void> {
    await this.client.write("putSecrets", { key: key && packed(key), secrets: secrets.map(packed) });
  }

  async silences(): Promise<Silence[]> {
    return await this.client.read("silences");
  }

  async putSilence(silence: Silence, nowMs: number): Promise<void> {
    await this.client.write("putSilence", { silence, nowMs });
  }

  async removeSecret(namespace: string | null, name: string): Promise<boolean> {
    return await this.client.write("removeSecret", [namespace, name]);
  }
}

function packed<T extends { sealed: Uint8Array }>(row: T) {
  return { ...row, sealed: Buffer.from(row.sealed).toString("base64") };
}

function unpacked<T extends { sealed: string }>(row: T) {
  return { ...row, sealed: new Uint8Array(Buffer.from(row.sealed, "base64")) };
}
