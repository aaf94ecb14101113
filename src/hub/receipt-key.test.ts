import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../core/clock.ts";
import { HoldfastError } from "../core/errors.ts";
import { systemIds } from "../core/ids.ts";
import { silentLogger } from "../core/logger.ts";
import { ZERO_HASH } from "../model/record.ts";
import { MAX_RECEIPT_CERTIFICATES, receiptCertificate, receiptHolds } from "../protocol/receipts.ts";
import { certificatesOf } from "../protocol/transport-tls.ts";
import { type CertificateAuthority, createCa, openCa } from "./enrollment/certificates.ts";
import { hubHome, type HubHome, makeHubFolders } from "./home.ts";
import { openReceiptSigner } from "./receipt-key.ts";
import { openHubStore, type SqlHubStore } from "./store/hub-store.ts";

const clock = systemClock();
const ids = systemIds();
const log = silentLogger();
const cursor = { epoch: "e", lane: 1, segment: 1, number: 9, hash: ZERO_HASH };

let folder: string;
let home: HubHome;
let store: SqlHubStore;
let ca: CertificateAuthority;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-receipt-key-"));
  home = hubHome(folder);
  makeHubFolders(home);
  store = await openHubStore({ file: home.database, clock, ids });
  ca = await openCa(await createCa("Holdfast test", clock.trusted(), ids), ids);
});
afterEach(async () => {
  await store.close();
  rmSync(folder, { recursive: true, force: true });
});

const open = (by = ca) => openReceiptSigner({ home, ca: by, store, clock, log });
const serials = async () => (await store.receiptCertificates()).map(({ serial }) => serial);

test("a hub that has none makes one, readable by its user alone, and uses it from then on", async () => {
  const signer = await open();
  expect(statSync(home.receiptsKeyFile).mode & 0o777).toBe(0o600);
  const { receipt, certificate } = await signer.sign("web-01", cursor);
  const { key, serial } = await receiptCertificate(certificate, certificatesOf(ca.certificate));
  expect(receipt).toMatchObject({ hub: store.hubId, key: serial });
  expect(await receiptHolds("web-01", cursor, receipt, key)).toBe(true);
  expect(await receiptHolds("web-02", cursor, receipt, key)).toBe(false);
  expect(await receiptHolds("web-01", { ...cursor, number: 10 }, receipt, key)).toBe(false);
  const again = await (await open()).sign("web-01", cursor);
  expect(again.receipt.key).toBe(serial);
  expect(await serials()).toEqual([serial]);
});

const damages: [what: string, damage: () => Promise<void> | void][] = [
  ["the key is gone", () => rmSync(home.receiptsKeyFile)],
  ["the certificate is gone", () => rmSync(home.receiptsFile)],
  ["the key is damaged", () => writeFileSync(home.receiptsKeyFile, "none")],
  [
    "a crash came between key and certificate",
    async () => writeFileSync(home.receiptsKeyFile, (await ca.receipts(clock.trusted())).key),
  ],
];
test.each(damages)("when %s there is a new one, and the old certificate stays", async (_, damage) => {
  const old = (await (await open()).sign("web-01", cursor)).receipt.key;
  await damage();
  const signer = await open();
  const { key } = (await signer.sign("web-01", cursor)).receipt;
  expect(key).not.toBe(old);
  expect(await serials()).toEqual([old, key]);
  expect(signer.certificates()).toHaveLength(2);
});

test("a key that another CA vouches for is not used", async () => {
  const other = await openCa(await createCa("Another", clock.trusted(), ids), ids);
  const old = (await (await open(other)).sign("web-01", cursor)).receipt.key;
  expect((await (await open()).sign("web-01", cursor)).receipt.key).not.toBe(old);
});

test("changes at the same time come one after the other, and the last is in use after a start", async () => {
  const signer = await open();
  const made = await Promise.all([signer.rotate(), signer.rotate(), signer.rotate()]);
  expect(made.map(({ certificates }) => certificates)).toEqual([2, 3, 4]);
  const current = (await signer.sign("web-01", cursor)).receipt.key;
  expect(current).toBe(made[2]!.serial);
  const again = await open();
  expect((await again.sign("web-01", cursor)).receipt.key).toBe(current);
  expect(again.certificates()).toHaveLength(4);
  const pem = readFileSync(home.receiptsFile);
  expect(
    (await receiptCertificate(again.certificates().at(-1)!, certificatesOf(ca.certificate))).der,
  ).toEqual((await receiptCertificate(derOf(pem), certificatesOf(ca.certificate))).der);
});

test("there are as many keys as agents take, and no more", async () => {
  for (let number = 1; number < MAX_RECEIPT_CERTIFICATES; number++) {
    const row = { serial: `4f${number}`, certificate: Uint8Array.of(number & 255), madeMs: number };
    await store.addReceiptCertificate(row);
  }
  const signer = await open();
  const { receipt } = await signer.sign("web-01", cursor);
  const error = await signer.rotate().catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(HoldfastError);
  expect((error as HoldfastError).code).toBe("exhausted");
  expect((await signer.sign("web-01", cursor)).receipt.key).toBe(receipt.key);
});

function derOf(pem: Buffer): Buffer {
  return Buffer.from(pem.toString().replace(/-----[A-Z ]+-----|\s/g, ""), "base64");
}
