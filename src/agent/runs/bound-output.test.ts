import { expect, test } from "bun:test";
import type { Json } from "../../model/json.ts";
import { boundOutput } from "./bound-output.ts";

test("what fits stays as it is", () => {
  for (const output of [null, 7, true, "text", ["a"], { a: 1 }])
    expect(boundOutput(output, 100)).toEqual(output);
  expect(boundOutput(undefined, 100)).toBeNull();
});

test.each(["x", '"', "é", "😀", "\n", "\u0001"])(
  "of one long text %j the end goes, and the other fields stay",
  (letter) => {
    const stdout = letter.repeat(100_000);
    const cut = boundOutput({ exit: 0, stdout, stderr: "careful" }, 30_001) as { stdout: string };
    expect(JSON.stringify(cut).length).toBeLessThanOrEqual(30_001);
    expect(JSON.stringify(cut).length).toBeGreaterThan(29_000);
    expect(cut).toMatchObject({ exit: 0, stderr: "careful", truncated: true });
    expect(stdout.startsWith(cut.stdout.replace(/\uFFFD$/, ""))).toBe(true);
  },
);

test("a text that is cut says so, and is as long as it may be", () => {
  const cut = boundOutput({ exit: 0, stdout: "x".repeat(5_000) }, 1_000) as { stdout: string };
  expect(cut).toMatchObject({ exit: 0, truncated: true });
  expect(JSON.stringify(cut).length).toBeGreaterThan(950);
  expect(JSON.stringify(cut).length).toBeLessThanOrEqual(1_000);
});

test("what is long by many parts is told by its beginning", () => {
  const items = Array.from({ length: 1_000 }, (_, index) => `item ${index}`);
  const outputs: Json[] = [items, { items }, { a: "x".repeat(700), items }, "x".repeat(9_000)];
  for (const output of outputs) {
    const bytes = JSON.stringify(output).length;
    const head = JSON.stringify(output).slice(0, 1_000);
    expect(boundOutput(output, 1_000)).toEqual({ truncated: true, bytes, head });
  }
});
