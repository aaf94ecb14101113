import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Seeded } from "../../src/testing/seeded.ts";
import { type Keys, makeExport, makeKeys, type Pick, type Side } from "./made-export.ts";
import { spoiled, WAYS } from "./spoiled-export.ts";
import { ourVerdicts, pythonVerdicts, type Verdicts } from "./verifiers.ts";

const EACH = 8;
const MOST_TRIES = 200;

let folder: string;
let keys: Keys;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-verifier-"));
  keys = await makeKeys();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function seeded(seed: number): Pick {
  const random = new Seeded(seed);
  return (below) => random.int(0, below - 1);
}

let files = 0;
function written(lines: string[]): string {
  const path = join(folder, `${files++}.jsonl`);
  writeFileSync(path, lines.map((line) => `${line}\n`).join(""));
  return path;
}

/** What both say; throws where they differ. */
async function agreed(paths: string[]): Promise<(Verdicts | null)[]> {
  const python = await pythonVerdicts(paths);
  const ours = await Promise.all(paths.map(ourVerdicts));
  expect(ours).toEqual(python);
  return ours;
}

test.each<Side>(["agent", "hub"])("both find whole exports of an %s whole", async (side) => {
  const paths = await Promise.all(
    Array.from({ length: EACH }, async (_, seed) => written(await makeExport(side, keys, seeded(seed)))),
  );
  for (const verdicts of await agreed(paths)) {
    expect(verdicts).toMatchObject({ whole: true, problems: 0 });
    expect(verdicts!.streams.flatMap(({ faults }) => faults)).toEqual([]);
  }
});

test.each(Object.keys(WAYS))("%s: both say the same", async (name) => {
  const made: { path: string; expected: string | undefined }[] = [];
  for (let seed = 0; made.length < EACH && seed < MOST_TRIES; seed++) {
    const pick = seeded(1000 + seed);
    const found = spoiled(await makeExport(seed % 2 === 0 ? "agent" : "hub", keys, pick), WAYS[name]!, pick);
    if (found !== undefined) made.push({ path: written(found.lines), expected: found.expected });
  }
  expect(made.length).toBe(EACH);
  const all = await agreed(made.map(({ path }) => path));
  for (const [index, verdicts] of all.entries()) {
    const kinds = verdicts!.streams.flatMap(({ faults }) => faults.map(({ kind }) => kind));
    expect(verdicts!.whole).toBe(false);
    const { expected } = made[index]!;
    if (expected !== undefined) expect(kinds).toContain(expected);
  }
});

const STRANGE = [null, -1, 1.5, 2 ** 60, 256, true, "", "x", "AAA", "ab".repeat(32), {}, [], 0, 1, "\u0000"];

test("members of another type, or with another value: both say the same", async () => {
  const paths: string[] = [];
  for (let seed = 0; seed < 120; seed++) {
    const pick = seeded(5000 + seed);
    const lines = await makeExport(seed % 2 === 0 ? "agent" : "hub", keys, pick);
    const at = pick(lines.length);
    const item = JSON.parse(lines[at]!) as Record<string, unknown>;
    const name = Object.keys(item)[pick(Object.keys(item).length)]!;
    if (pick(4) === 0) delete item[name];
    else item[name] = STRANGE[pick(STRANGE.length)];
    paths.push(written(lines.with(at, JSON.stringify(item))));
  }
  const verdicts = await agreed(paths);
  expect(verdicts.some((each) => each === null)).toBe(true);
  expect(verdicts.some((each) => each !== null && !each.whole)).toBe(true);
});

test("an export that was cut short, that has a line too many, or of another version is not taken for whole", async () => {
  const lines = await makeExport("agent", keys, seeded(7));
  const cut = written(lines.slice(0, -1));
  const longer = written([...lines.slice(0, -1), '{"kind":"of the future","x":1}', lines.at(-1)!]);
  const newer = written([lines[0]!.replace('"version":1', '"version":2'), ...lines.slice(1)]);
  const torn = written([...lines.slice(0, 5), lines[5]!.slice(0, -9)]);
  const [first, second, third, fourth] = await agreed([cut, longer, newer, torn]);
  expect(first).toMatchObject({ whole: false, problems: 1 });
  expect(second).toMatchObject({ whole: false, problems: 1 });
  expect([third, fourth]).toEqual([null, null]);
});

test("a receipt certificate of another CA, or of an agent, vouches for nothing", async () => {
  const stranger = await makeKeys();
  const lines = await makeExport("agent", keys, seeded(3));
  const [, , own] = lines;
  const other = lines.map((line) => (line === own ? otherCertificate(line, stranger) : line));
  const [verdicts] = await agreed([written(other)]);
  expect(verdicts).toMatchObject({ whole: false, problems: 1 });
  expect(verdicts!.streams.every(({ proved }) => proved === null)).toBe(true);
});

function otherCertificate(line: string, { certificate }: Keys): string {
  return JSON.stringify({ ...JSON.parse(line), certificate: Buffer.from(certificate).toString("base64") });
}
