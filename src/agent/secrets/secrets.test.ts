import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemIds } from "../../core/ids.ts";
import { silentLogger } from "../../core/logger.ts";
import type { Fault } from "../../storage/faults.ts";
import { type InProcessStore, openInProcessStore } from "../../testing/in-process-store.ts";
import { VirtualClock } from "../../testing/virtual-clock.ts";
import { masterKeys, type MasterKeyPlaces } from "./master-keys.ts";
import { keyFrom, seal, unseal } from "./seal.ts";
import { Secrets } from "./secrets.ts";

const random = (bytes: number) => crypto.getRandomValues(new Uint8Array(bytes));
let folder: string;
let places: MasterKeyPlaces;
let handed: string[];
const stores: InProcessStore[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-secrets-"));
  handed = [];
  places = {
    ...{ credentials: undefined, file: join(folder, "secrets.key"), passphraseFile: undefined },
    ...{ salt: join(folder, "secrets.salt"), random },
  };
});
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  rmSync(folder, { recursive: true, force: true });
});

/** As an agent does at its start. */
async function open(more: { places?: Partial<MasterKeyPlaces>; faults?: Fault[] } = {}) {
  for (const store of stores.splice(0)) await store.close();
  const store = await openInProcessStore({
    ...{ path: join(folder, "agent.db"), ids: systemIds(), wall: () => 1 },
    ...(more.faults ? { faults: more.faults } : {}),
  });
  stores.push(store);
  const used = { ...places, ...more.places };
  const secrets = new Secrets({
    ...{
      store,
      masters: (make) => masterKeys(used, make),
      handedOut: (value) => void handed.push(value),
      random,
    },
    ...{ clock: new VirtualClock(), log: silentLogger() },
  });
  await secrets.start();
  return { secrets, store };
}
const put = (secrets: Secrets, name: string, value: string, namespace: string | null = null) =>
  secrets.set({ namespace, name, value, changedBy: "local:0" });
const message = (work: () => unknown) => {
  try {
    work();
    return "done";
  } catch (error) {
    return (error as Error).message;
  }
};

describe("sealing", () => {
  const key = keyFrom(Buffer.from("some key material"), "test");
  test("opens what it sealed, and nothing that was changed, moved or sealed otherwise", () => {
    const sealed = seal(key, Buffer.from("välue"), "a", random);
    expect(unseal(key, sealed, "a").toString()).toBe("välue");
    expect(seal(key, Buffer.from("välue"), "a", random)).not.toEqual(sealed);
    expect(() => unseal(key, sealed, "b")).toThrow("b cannot be opened");
    expect(() => unseal(keyFrom(Buffer.from("other"), "test"), sealed, "a")).toThrow();
    for (let at = 0; at < sealed.length; at++) {
      const changed = Uint8Array.from(sealed);
      changed[at]! ^= 1;
      expect(() => unseal(key, changed, "a")).toThrow();
    }
    for (let length = 0; length < sealed.length; length++)
      expect(() => unseal(key, sealed.slice(0, length), "a")).toThrow();
  });
});

describe("secrets", () => {
  test("are kept over restarts, sealed; the namespace's own goes first; each that goes out is told", async () => {
    const first = await open();
    await put(first.secrets, "TOKEN", "for-everybody");
    await put(first.secrets, "TOKEN", "for-the-web", "web");
    expect(statSync(places.file).mode & 0o777).toBe(0o600);
    handed.length = 0;
    const { secrets } = await open();
    expect([secrets.open("web", "TOKEN"), secrets.open("db", "TOKEN")]).toEqual([
      "for-the-web",
      "for-everybody",
    ]);
    expect(handed).toEqual(["for-the-web", "for-everybody"]);
    expect(() => secrets.open("web", "OTHER")).toThrow(
      "secret OTHER is not set for namespace web: holdfast secret",
    );
    expect(secrets.list()).toMatchObject([
      { namespace: null, name: "TOKEN", changedBy: "local:0", readable: true },
      { namespace: "web", name: "TOKEN" },
    ]);
    expect(await secrets.remove("web", "TOKEN")).toBe(true);
    expect(await secrets.remove("web", "TOKEN")).toBe(false);
    expect(secrets.open("web", "TOKEN")).toBe("for-everybody");
    for (const suffix of ["", "-wal"]) {
      const path = join(folder, `agent.db${suffix}`);
      if (existsSync(path)) expect(readFileSync(path, "latin1")).not.toContain("for-everybody");
    }
  });

  test("no key is made before there is something to seal", async () => {
    await open();
    expect(existsSync(places.file)).toBe(false);
  });

  test("bad names and values", async () => {
    const { secrets } = await open();
    const refused = (name: string, value: string) =>
      put(secrets, name, value).then(
        () => "done",
        (error: { code: string }) => error.code,
      );
    for (const name of ["", "a b", "1", "a-b", "x".repeat(65)])
      expect(await refused(name, "v"), name).toBe("invalid");
    expect(await refused("A", "")).toBe("invalid");
    expect(await refused("A", "x".repeat(65 * 1024))).toBe("too_large");
  });

  test("a lost or wrong key: which must be set again is told, and they can be; the key that comes back opens the rest", async () => {
    const first = await open();
    await put(first.secrets, "ONE", "value-one", "web");
    await put(first.secrets, "TWO", "value-two");
    const kept = readFileSync(places.file);
    for (const wrong of [null, "another key that is long enough"]) {
      rmSync(places.file);
      if (wrong) writeFileSync(places.file, wrong, { mode: 0o600 });
      const { secrets } = await open();
      expect(secrets.problem()).toMatch(
        /^secrets cannot be read \(they were sealed with key file \w+, and .*\): .*: TWO, web\/ONE$/,
      );
      expect(message(() => secrets.open("web", "TWO"))).toContain("secret TWO cannot be read");
      expect(secrets.list().every(({ readable }) => !readable)).toBe(true);
      if (!wrong) writeFileSync(places.file, "a third key, made in between");
      chmodSync(places.file, 0o600);
    }
    const { secrets } = await open();
    await put(secrets, "TWO", "value-two again");
    expect(secrets.open("web", "TWO")).toBe("value-two again");
    expect(secrets.problem()).toContain("set: web/ONE");
    // Both keys are there: one by its file, the other as a credential.
    const credentials = join(folder, "credentials");
    mkdirSync(credentials);
    writeFileSync(join(credentials, "holdfast.key"), kept);
    const both = await open({ places: { credentials } });
    expect(both.secrets.problem()).toBeNull();
    expect([both.secrets.open("web", "ONE"), both.secrets.open("web", "TWO")]).toEqual([
      "value-one",
      "value-two again",
    ]);
  });

  test("a key that others may read, or one that is a link, is not used", async () => {
    const first = await open();
    await put(first.secrets, "ONE", "value-one");
    chmodSync(places.file, 0o640);
    expect((await open()).secrets.problem()).toContain("is open to others (mode 640): run chmod 600");
  });

  test("a passphrase: the right one opens, a wrong or a short one says so", async () => {
    const passphraseFile = join(folder, "passphrase");
    const say = (text: string) => writeFileSync(passphraseFile, text, { mode: 0o600 });
    const withPassphrase = { places: { passphraseFile } };
    say("correct horse battery\n");
    await put((await open(withPassphrase)).secrets, "ONE", "value-one");
    expect(existsSync(places.file)).toBe(false);
    expect((await open(withPassphrase)).secrets.open("web", "ONE")).toBe("value-one");
    say("incorrect horse battery");
    expect((await open(withPassphrase)).secrets.problem()).toContain("they were sealed with key passphrase");
    say("short");
    expect((await open(withPassphrase)).secrets.problem()).toContain("fewer than 12 characters");
  });

  test("a new data key under another master key; interrupted anywhere, all stays readable", async () => {
    const credentials = join(folder, "credentials");
    mkdirSync(credentials);
    for (let n = 0; n < 5; n++) await put((await open()).secrets, `S${n}`, `value-${n}`);
    const before = await stores[0]!.sealedSecrets();
    writeFileSync(join(credentials, "holdfast.key"), "a credential of systemd, long enough");
    for (const label of ["secret_keys.put", "secrets.put", "secret_keys.drop", "putSecrets", "commit"])
      for (const at of ["before", "after"] as const)
        for (const skip of label === "secrets.put" ? [0, 2] : [0]) {
          const { secrets, store } = await open({
            places: { credentials },
            faults: [{ label, at, with: "crash", skip }],
          });
          await Promise.race([secrets.rotate(), Bun.sleep(0).then(() => store.crashed)]);
          const again = (await open({ places: { credentials } })).secrets;
          expect(again.problem(), `${label} ${at}`).toBeNull();
          for (let n = 0; n < 5; n++) expect(again.open("web", `S${n}`)).toBe(`value-${n}`);
        }
    const { secrets, store } = await open({ places: { credentials } });
    expect(await secrets.rotate()).toBe(5);
    const after = await store.sealedSecrets();
    expect(after.keys).toHaveLength(1);
    expect(after.keys[0]!.number).toBeGreaterThan(before.keys[0]!.number);
    expect(after.keys[0]!.master).toStartWith("credential");
    // The file is not needed any more.
    rmSync(places.file);
    expect((await open({ places: { credentials } })).secrets.open("web", "S3")).toBe("value-3");
  });
});
