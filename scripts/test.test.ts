import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

// Outside the checkout, where a run of everything does not find them.
const folder = mkdtempSync(join(tmpdir(), "holdfast-closing-line-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function closingLine(sources: Record<string, string>): Promise<{ line: string; exitCode: number }> {
  const paths = Object.entries(sources).map(([name, source]) => {
    writeFileSync(join(folder, name), `import { expect, test } from "bun:test";\n${source}\n`);
    return join(folder, name);
  });
  const child = Bun.spawn([process.execPath, join(import.meta.dir, "test.ts"), ...paths], {
    stdout: "pipe",
    stderr: "ignore",
  });
  const output = await new Response(child.stdout).text();
  return { line: output.trimEnd().split("\n").at(-1)!, exitCode: await child.exited };
}

test.each([
  [
    "passed and skipped",
    { "a.test.ts": 'test("a", () => {}); test.skip("b", () => {});' },
    "1 passed, 0 failed, 1 skipped",
    0,
  ],
  [
    "failed",
    { "a.test.ts": 'test("a", () => {}); test("b", () => expect(1).toBe(2));' },
    "1 passed, 1 failed",
    1,
  ],
  [
    "a file that does not load",
    { "b.test.ts": 'import "./missing.ts"; test("a", () => {});' },
    "0 passed, 1 failed",
    1,
  ],
  [
    "a crash",
    { "c.test.ts": 'test("a", () => { process.kill(process.pid, "SIGKILL"); while (true); });' },
    "0 passed, 1 failed",
    1,
  ],
  [
    "an error after the tests",
    {
      "d.test.ts":
        'test("a", () => { setTimeout(() => { throw new Error("late"); }, 1); }); test("b", () => Bun.sleep(50));',
    },
    /^\d passed, [1-9] failed$/,
    1,
  ],
  ["nothing to run", { "e.test.ts": "" }, "0 passed, 1 failed", 1],
] as [string, Record<string, string>, string | RegExp, number][])(
  "%s",
  async (_name, sources, line, exitCode) => {
    const result = await closingLine(sources);
    expect(result.line).toMatch(line);
    expect(result.exitCode).toBe(exitCode);
  },
);
