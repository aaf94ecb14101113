/** docs/sandbox.md is what an operator copies from. */
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadPolicy } from "../../agent/config/policy.ts";
import { formatProblem } from "../../model/config-problem.ts";
import { DEFAULT_RESOURCES } from "../../model/permissions.ts";

const text = await Bun.file(join(import.meta.dir, "../../../docs/sandbox.md")).text();

test("the three policies in it are valid", async () => {
  const policies = [...text.matchAll(/^```yaml\n([\s\S]*?)^```$/gm)].map((match) => match[1]!);
  expect(policies).toHaveLength(3);
  const folder = mkdtempSync(join(tmpdir(), "holdfast-docs-"));
  try {
    for (const policy of policies) {
      const file = join(folder, "policy.yaml");
      writeFileSync(file, policy);
      expect((await loadPolicy([file])).problems.map(formatProblem)).toEqual([]);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("every resource is explained", () => {
  for (const name of Object.keys(DEFAULT_RESOURCES))
    expect(text).toMatch(new RegExp(`^\\| \`${name}\` +\\|`, "m"));
});
