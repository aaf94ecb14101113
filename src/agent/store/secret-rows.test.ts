import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import type { SealedSecret } from "../../model/secret.ts";
import { type Fixture, fixture } from "./store-fixtures.ts";

let place: Fixture;
beforeEach(() => {
  place = fixture();
});
afterEach(() => place.end());

const key = (number: number) => ({
  number,
  master: "file 1",
  sealed: Uint8Array.of(0, 255, number),
  madeMs: 1,
});
const secret = (name: string, dataKey: number, namespace: string | null = null): SealedSecret => ({
  ...{ namespace, name, dataKey, sealed: Uint8Array.of(dataKey, 0, 128), changedMs: 2, changedBy: "local:0" },
});

test("a key stays as long as it opens something", async () => {
  const store = await place.open();
  await store.putSecrets({ key: key(1), secrets: [secret("A", 1), secret("A", 1, "web")] });
  await store.putSecrets({ key: key(2), secrets: [secret("A", 2)] });
  const both = await store.sealedSecrets();
  expect(both.keys).toEqual([key(1), key(2)]);
  expect(both.secrets).toEqual([secret("A", 2), secret("A", 1, "web")]);
  await store.putSecrets({ key: key(3), secrets: [secret("A", 3), secret("A", 3, "web")] });
  expect((await store.sealedSecrets()).keys).toEqual([key(3)]);
  expect(await store.removeSecret("web", "A")).toBe(true);
  expect(await store.removeSecret("web", "A")).toBe(false);
});

test("a damaged store keeps sealed secrets with every key that they need, and parameters", async () => {
  const store = await place.open();
  await store.putSecrets({ key: key(1), secrets: [secret("A", 1), secret("B", 1)] });
  await store.putSecrets({ key: key(2), secrets: [secret("B", 2)] });
  const parameter = {
    namespace: "web",
    name: "p",
    value: [1],
    secret: false,
    changedMs: 3,
    changedBy: "local:0",
  };
  await store.setParameter(parameter);
  const before = await store.sealedSecrets();
  await store.close();
  writeFileSync(`${place.path}-damaged`, "told\n");
  const fresh = await place.open();
  expect(fresh.facts.salvage!.salvaged).toMatchObject({ secrets: 2, parameters: 1 });
  expect(await fresh.sealedSecrets()).toEqual(before);
  expect(await fresh.parameters()).toEqual([parameter]);
});
