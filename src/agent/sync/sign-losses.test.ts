import { expect, test } from "bun:test";
import { generateKeyPairSync } from "node:crypto";
import { type LossRecordBody, lossText, type RecordBatch } from "../../model/record.ts";
import { signLosses } from "./sign-losses.ts";

const loss: LossRecordBody = {
  ...{ first: 2, last: 4, counts: { 1: 2, 3: 1 }, prevHash: "ab".repeat(32), lastHash: "cd".repeat(32) },
  ...{ reason: "cap", atMs: 7 },
};
const batch: RecordBatch = {
  ...{ epoch: "e1", lane: 2, segment: 1, first: 1 },
  ...{ prevHash: new Uint8Array(32), lastHash: new Uint8Array(32) },
  records: [
    { number: 1, class: 1, body: Buffer.from("{}") },
    { number: 4, class: 9, body: Buffer.from(JSON.stringify(loss)) },
  ],
};
const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "prime256v1" });
const PEM = privateKey.export({ type: "pkcs8", format: "pem" }) as string;

test("a loss record is signed over its text, as WebCrypto checks it, and nothing else is touched", async () => {
  const signed = await signLosses("web-01", batch, PEM);
  expect(signed.records[0]).toBe(batch.records[0]!);
  const told = JSON.parse(Buffer.from(signed.records[1]!.body).toString()) as LossRecordBody;
  expect({ ...told, signature: undefined }).toEqual({ ...loss, signature: undefined });
  const algorithm = { name: "ECDSA", namedCurve: "P-256" };
  const spki = publicKey.export({ type: "spki", format: "der" });
  const key = await crypto.subtle.importKey("spki", new Uint8Array(spki), algorithm, false, ["verify"]);
  const text = lossText({ agent: "web-01", epoch: "e1", lane: 2, segment: 1 }, loss);
  const signature = new Uint8Array(Buffer.from(told.signature!, "base64"));
  const genuine = (signedText: string) =>
    crypto.subtle.verify(
      { name: "ECDSA", hash: "SHA-256" },
      key,
      signature,
      new TextEncoder().encode(signedText),
    );
  expect(signature).toHaveLength(64);
  expect(await genuine(text)).toBe(true);
  expect(await genuine(text.replace("web-01", "web-02"))).toBe(false);
});

test("a batch without a loss needs no key; one with a loss is not sent without", async () => {
  const plain = { ...batch, records: batch.records.slice(0, 1) };
  expect(await signLosses("web-01", plain, undefined)).toBe(plain);
  await expect(signLosses("web-01", batch, undefined)).rejects.toMatchObject({ code: "denied" });
});
