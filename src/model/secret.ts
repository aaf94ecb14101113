import { HoldfastError } from "../core/errors.ts";

export const SECRET_NAME = /^[a-zA-Z_]\w{0,63}$/;
/** Bytes of one secret: a private key with its chain fits. */
export const MAX_SECRET = 64 * 1024;
export const MAX_SECRETS = 10_000;

/** Where the files of scripts with secrets are, of the agent with this folder for its workers: in memory, on no disk. */
export function secretFilesFolder(workdir: string): string {
  return `/dev/shm/holdfast-${new Bun.CryptoHasher("sha256").update(workdir).digest("hex").slice(0, 12)}`;
}

/** A secret as it is stored: AES-256-GCM under the data key with this number. Times are trusted Unix milliseconds. */
export interface SealedSecret {
  /** Null is every namespace. */
  namespace: string | null;
  name: string;
  dataKey: number;
  sealed: Uint8Array;
  changedMs: number;
  changedBy: string;
}

/** A data key, sealed under a master key. */
export interface SealedKey {
  number: number;
  /** Which master key: where it is from, and a piece of its hash. */
  master: string;
  sealed: Uint8Array;
  madeMs: number;
}

/** What is told of a secret. */
export interface ListedSecret {
  namespace: string | null;
  name: string;
  changedMs: number;
  changedBy: string;
  /** False when its key is lost: it must be set again. */
  readable: boolean;
}

export function checkSecretName(name: string): string {
  if (SECRET_NAME.test(name)) return name;
  throw new HoldfastError(
    "invalid",
    `a secret's name is a letter or _, then letters, digits and _, at most 64, not ${JSON.stringify(name.slice(0, 70))}`,
  );
}

export function checkSecretValue(name: string, value: string): string {
  const bytes = Buffer.byteLength(value);
  if (bytes === 0) throw new HoldfastError("invalid", `the value for secret ${name} is empty`);
  if (bytes <= MAX_SECRET) return value;
  throw new HoldfastError(
    "too_large",
    `the value for secret ${name} has ${bytes} bytes, at most ${MAX_SECRET} may be`,
  );
}

/** `web/NAME`, and `NAME` for one of all namespaces. */
export function secretLabel({ namespace, name }: { namespace: string | null; name: string }): string {
  return namespace === null ? name : `${namespace}/${name}`;
}
