import { expect, test } from "bun:test";
import { join } from "node:path";
import { VERBS } from "./verbs.ts";

test("the manual has a row for every operation, and no other", async () => {
  const text = await Bun.file(join(import.meta.dir, "../../../docs/host-operations.md")).text();
  const rows = [...text.matchAll(/^\| `([a-z.]+)/gm)].map((match) => match[1]!);
  expect(rows).toEqual(Object.keys(VERBS));
});
