import type { Clock } from "../../core/clock.ts";
import { HoldfastError, messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import {
  checkSecretName,
  checkSecretValue,
  type ListedSecret,
  MAX_SECRETS,
  type SealedKey,
  type SealedSecret,
  secretLabel,
} from "../../model/secret.ts";
import type { MasterKey } from "./master-keys.ts";
import { seal, unseal } from "./seal.ts";

export interface SecretStorePort {
  sealedSecrets(): Promise<{ keys: SealedKey[]; secrets: SealedSecret[] }>;
  /** In one transaction; keys that open nothing any more go. */
  putSecrets(put: { key: SealedKey | null; secrets: SealedSecret[] }): Promise<void>;
  /** False when there was none. */
  removeSecret(namespace: string | null, name: string): Promise<boolean>;
}

export interface SecretsOptions {
  store: SecretStorePort;
  /** Every master key that is there, the one to seal with first; with `make`, one is made where there is none. */
  masters: (make: boolean) => MasterKey[];
  /** Told of every value before it is handed out. */
  handedOut: (value: string) => void;
  random: (bytes: number) => Uint8Array;
  clock: Clock;
  log: Logger;
}

interface DataKey {
  number: number;
  key: Uint8Array;
}

/**
 * Secrets, by namespace or for all (row S-26): sealed under a data key, which is sealed under a master key that is not in the
 * store. What a lost key makes unreadable must be set again; everything else runs.
 */
export class Secrets {
  readonly #options: SecretsOptions;
  readonly #sealed = new Map<string, SealedSecret>();
  readonly #keys = new Map<number, Uint8Array>();
  /** Sealed with the preferred master key, for what is set now. */
  #current: DataKey | null = null;
  #highest = 0;
  #problem: string | null = null;
  /** Changes come one after the other: each builds on the keys of the one before. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: SecretsOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { keys, secrets } = await this.#options.store.sealedSecrets();
    for (const secret of secrets) this.#sealed.set(idOf(secret), secret);
    this.#highest = Math.max(
      0,
      ...keys.map(({ number }) => number),
      ...secrets.map(({ dataKey }) => dataKey),
    );
    if (keys.length + secrets.length > 0) this.#openKeys(keys);
    if (this.problem() !== null) this.#options.log.error(this.problem()!);
  }

  /** Why some secrets cannot be read, and which must be set again; null when all is well. */
  problem(): string | null {
    const lost = [...this.#sealed.values()]
      .filter(({ dataKey }) => !this.#keys.has(dataKey))
      .map(secretLabel);
    if (lost.length === 0) return null;
    const shown = lost.slice(0, 20).join(", ") + (lost.length > 20 ? ` and ${lost.length - 20} more` : "");
    return `secrets cannot be read (${this.#problem ?? "their key is lost"}): bring the key back, or set them again with holdfast secret set: ${shown}`;
  }

  /** Without what other parts keep here, under names that no namespace has. */
  list(): ListedSecret[] {
    return [...this.#sealed.values()]
      .filter(({ namespace }) => !namespace?.includes(" "))
      .map(({ namespace, name, dataKey, changedMs, changedBy }) => ({
        ...{ namespace, name, changedMs, changedBy, readable: this.#keys.has(dataKey) },
      }))
      .toSorted((a, b) => (secretLabel(a) < secretLabel(b) ? -1 : 1));
  }

  /** The value for a run of this namespace; the namespace's own goes before that of all. Throws `not_found` and `failed`. */
  open(namespace: string, name: string): string {
    const sealed =
      this.#sealed.get(idOf({ namespace, name })) ?? this.#sealed.get(idOf({ namespace: null, name }));
    if (!sealed)
      throw new HoldfastError(
        "not_found",
        `secret ${name} is not set for namespace ${namespace}: holdfast secret set ${name} --namespace ${namespace}`,
      );
    const value = this.#unseal(sealed);
    this.#options.handedOut(value);
    return value;
  }

  /** Of exactly this holder; null when there is none, or its key is lost. */
  openExact(namespace: string, name: string): string | null {
    const sealed = this.#sealed.get(idOf({ namespace, name }));
    if (!sealed || !this.#keys.has(sealed.dataKey)) return null;
    const value = this.#unseal(sealed);
    this.#options.handedOut(value);
    return value;
  }

  set(wanted: { namespace: string | null; name: string; value: string; changedBy: string }): Promise<void> {
    return this.#inTurn(async () => {
      const { namespace, name, value, changedBy } = wanted;
      checkSecretName(name);
      checkSecretValue(name, value);
      if (this.#sealed.size >= MAX_SECRETS && !this.#sealed.has(idOf(wanted)))
        throw new HoldfastError("exhausted", `${MAX_SECRETS} secrets are set: remove some`);
      // What came in may turn up in an error on its way.
      this.#options.handedOut(value);
      const made = this.#current === null ? this.#makeKey() : null;
      const key = made?.opened ?? this.#current!;
      const changedMs = this.#options.clock.trusted();
      const secret = this.#seal(key, { namespace, name, changedMs, changedBy }, value);
      await this.#options.store.putSecrets({ key: made?.sealed ?? null, secrets: [secret] });
      this.#adopt(key);
      this.#sealed.set(idOf(secret), secret);
    });
  }

  remove(namespace: string | null, name: string): Promise<boolean> {
    return this.#inTurn(async () => {
      if (!this.#sealed.has(idOf({ namespace, name }))) return false;
      const removed = await this.#options.store.removeSecret(namespace, name);
      this.#sealed.delete(idOf({ namespace, name }));
      return removed;
    });
  }

  /** A new data key, under the master key that is preferred now; all that can be read is sealed anew. How many. */
  rotate(): Promise<number> {
    return this.#inTurn(async () => {
      const made = this.#makeKey();
      const readable = [...this.#sealed.values()].filter(({ dataKey }) => this.#keys.has(dataKey));
      const secrets = readable.map((each) => this.#seal(made.opened, each, this.#unseal(each)));
      await this.#options.store.putSecrets({ key: made.sealed, secrets });
      this.#adopt(made.opened);
      for (const secret of secrets) this.#sealed.set(idOf(secret), secret);
      return secrets.length;
    });
  }

  #openKeys(keys: SealedKey[]): void {
    let masters: MasterKey[];
    try {
      masters = this.#options.masters(false);
    } catch (error) {
      this.#problem = messageOf(error);
      return;
    }
    for (const sealed of keys) {
      const opened = firstOpened(sealed, masters);
      if (!opened) {
        const there =
          masters.length === 0 ? "no key is there" : `there is ${masters.map(({ id }) => id).join(", ")}`;
        this.#problem = `they were sealed with key ${sealed.master}, and ${there}`;
        continue;
      }
      this.#keys.set(sealed.number, opened);
      this.#current = { number: sealed.number, key: opened };
    }
  }

  #makeKey(): { opened: DataKey; sealed: SealedKey } {
    const { masters, random, clock } = this.#options;
    const [master] = masters(true);
    const number = this.#highest + 1;
    const key = random(32);
    const sealed = seal(master!.key, key, keyLabel(number), random);
    return {
      opened: { number, key },
      sealed: { number, master: master!.id, sealed, madeMs: clock.trusted() },
    };
  }

  /** After the commit. */
  #adopt(key: DataKey): void {
    this.#keys.set(key.number, key.key);
    this.#current = key;
    this.#highest = Math.max(this.#highest, key.number);
  }

  #seal(
    { number, key }: DataKey,
    about: Pick<SealedSecret, "namespace" | "name" | "changedMs" | "changedBy">,
    value: string,
  ): SealedSecret {
    const { namespace, name, changedMs, changedBy } = about;
    const sealed = seal(key, Buffer.from(value), aboutOf(about), this.#options.random);
    return { namespace, name, changedMs, changedBy, dataKey: number, sealed };
  }

  #unseal(secret: SealedSecret): string {
    const key = this.#keys.get(secret.dataKey);
    if (key) return unseal(key, secret.sealed, aboutOf(secret)).toString("utf8");
    const label = secretLabel(secret);
    throw new HoldfastError(
      "failed",
      `secret ${label} cannot be read (${this.#problem ?? "its key is lost"}): bring the key back, or set it again with holdfast secret set`,
    );
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return await turn;
  }
}

function firstOpened({ number, sealed }: SealedKey, masters: MasterKey[]): Uint8Array | null {
  for (const { key } of masters) {
    try {
      return unseal(key, sealed, keyLabel(number));
    } catch {
      // Another one may open it.
    }
  }
  return null;
}

function keyLabel(number: number): string {
  return `data key ${number}`;
}

function aboutOf({ namespace, name }: { namespace: string | null; name: string }): string {
  return `secret ${namespace ?? ""} ${name}`;
}

function idOf({ namespace, name }: { namespace: string | null; name: string }): string {
  return `${namespace ?? ""} ${name}`;
}
