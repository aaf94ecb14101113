import { expect, test } from "bun:test";
import { join } from "node:path";
import { ZERO_HASH } from "../../src/model/record.ts";
import { rowHash } from "../../src/protocol/chain.ts";

test("the hashes in docs/sync.md are those that the product makes", async () => {
  const page = await Bun.file(join(import.meta.dir, "../../docs/sync.md")).text();
  const said = (what: string) => new RegExp(`^${what} +([0-9a-f]{64})`, "m").exec(page)?.[1];
  const first = rowHash(ZERO_HASH, 1, 1, "{}");
  expect(said("SHA-256\\(body\\)")).toBe(new Bun.CryptoHasher("sha256").update("{}").digest("hex"));
  expect(said("hash\\(1\\)")).toBe(first.toHex());
  expect(said("hash\\(2\\)")).toBe(rowHash(first, 2, 2, "{}").toHex());
});
