import { closeSync, constants, fstatSync, fsyncSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { HoldfastError, messageOf, systemCode } from "../../core/errors.ts";
import { fingerprint, keyFrom } from "./seal.ts";

const PURPOSE = "holdfast secrets master key 1";
const LEAST_BYTES = 16;
/** Costs about 100 ms and 32 MB, once a start: what is guessed must be paid for. */
const SCRYPT = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 1024 * 1024 };
const LEAST_PASSPHRASE = 12;

export interface MasterKey {
  /** `credential`, `file` or `passphrase`, and a piece of the key's hash. */
  id: string;
  key: Uint8Array;
}

export interface MasterKeyPlaces {
  /** `$CREDENTIALS_DIRECTORY` of systemd. */
  credentials: string | undefined;
  /** `config/secrets.key`; made when there is no other key. */
  file: string;
  /** A file that holds a passphrase; its salt lies beside it in `salt`. */
  passphraseFile: string | undefined;
  salt: string;
  random: (bytes: number) => Uint8Array;
}

/**
 * Every master key that is there, the one to seal with first: a systemd credential `holdfast.key`, a key file, a passphrase.
 * With `make`, a key file is made where there is none of them. Throws for one that is there and cannot be used.
 */
export function masterKeys(places: MasterKeyPlaces, make: boolean): MasterKey[] {
  const keys = [fromCredential(places), fromFile(places.file), fromPassphrase(places)].filter(
    (key) => key !== null,
  );
  if (keys.length > 0 || !make) return keys;
  writeNew(places.file, `${Buffer.from(places.random(32)).toString("hex")}\n`);
  return [fromFile(places.file)!];
}

function fromCredential({ credentials }: MasterKeyPlaces): MasterKey | null {
  if (!credentials) return null;
  const material = read(join(credentials, "holdfast.key"));
  return material && named("credential", material, join(credentials, "holdfast.key"));
}

function fromFile(path: string): MasterKey | null {
  const material = read(path, true);
  return material && named("file", material, path);
}

function fromPassphrase({ passphraseFile, salt, random }: MasterKeyPlaces): MasterKey | null {
  if (!passphraseFile) return null;
  const passphrase = read(passphraseFile, true);
  if (!passphrase) throw new HoldfastError("not_found", `there is no passphrase file ${passphraseFile}`);
  const text = passphrase.toString("utf8").trim();
  if (text.length < LEAST_PASSPHRASE)
    throw new HoldfastError(
      "invalid",
      `the passphrase in ${passphraseFile} has fewer than ${LEAST_PASSPHRASE} characters: it is guessed too easily`,
    );
  if (!read(salt)) writeNew(salt, `${Buffer.from(random(32)).toString("hex")}\n`);
  const { scryptSync } = process.getBuiltinModule("node:crypto");
  const key = new Uint8Array(scryptSync(text, read(salt)!, 32, SCRYPT));
  return { id: `passphrase ${fingerprint(key)}`, key };
}

function named(kind: string, material: Buffer, path: string): MasterKey {
  const text = material.toString("latin1").trim();
  if (text.length < LEAST_BYTES)
    throw new HoldfastError(
      "invalid",
      `the key in ${path} has ${text.length} bytes, it must have ${LEAST_BYTES} or more`,
    );
  const key = keyFrom(Buffer.from(text, "latin1"), PURPOSE);
  return { id: `${kind} ${fingerprint(key)}`, key };
}

/** Null when it is not there. `own`: it must be closed to others. */
function read(path: string, own = false): Buffer | null {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return null;
    throw new HoldfastError("denied", `the key ${path} cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
  try {
    const { mode } = fstatSync(fd);
    if (own && (mode & 0o077) !== 0)
      throw new HoldfastError(
        "denied",
        `${path} is open to others (mode ${(mode & 0o777).toString(8)}): run chmod 600 on it, and set its secrets again if somebody may have read it`,
      );
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** On the disk before anything is sealed with it; what is there already stays. */
function writeNew(path: string, text: string): void {
  const fd = openSync(path, "wx", 0o600);
  try {
    writeSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
