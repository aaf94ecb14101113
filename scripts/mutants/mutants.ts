/**
 * Proves that the simulation finds what it should: applies each patch beside this file, one wrong line of production code,
 * to a copy of the tree and runs seeds until an invariant is broken. A patch that no longer applies, and a mutant that is
 * not found, count as failed. The last line is `N passed, N failed`.
 */
import { cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { basename, join } from "node:path";

const SEEDS = 200;
const LONGEST_MS = 10 * 60_000;
const ROOT = join(import.meta.dir, "../..");
/** What the simulation is made of. */
const COPIED = ["src", "scripts", "package.json", "tsconfig.json"];

interface Verdict {
  name: string;
  /** Seed and invariant; null when nothing was found. */
  found: string | null;
  note: string;
  seconds: number;
}

const only = process.argv.slice(2);
const patches = [...new Bun.Glob("*.patch").scanSync(import.meta.dir)]
  .toSorted()
  .filter((file) => only.length === 0 || only.includes(basename(file, ".patch")));
const verdicts: Verdict[] = [];
const queue = [...patches];
await Promise.all(Array.from({ length: Math.min(4, availableParallelism()) }, work));
const missed = verdicts.filter(({ found }) => found === null);
for (const { name, note } of missed) console.log(`not found: ${name}: ${note}`);
console.log(`${verdicts.length - missed.length} passed, ${missed.length} failed`);
process.exit(missed.length > 0 || verdicts.length === 0 ? 1 : 0);

async function work(): Promise<void> {
  for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
    const verdict = await judge(file);
    verdicts.push(verdict);
    const { name, found, note, seconds } = verdict;
    console.log(`${name.padEnd(32)} ${found ?? note} (${seconds.toFixed(1)} s)`);
  }
}

async function judge(file: string): Promise<Verdict> {
  const name = basename(file, ".patch");
  const started = performance.now();
  const tree = await mkdtemp(join(tmpdir(), "holdfast-mutant-"));
  try {
    for (const each of COPIED) await cp(join(ROOT, each), join(tree, each), { recursive: true });
    await symlink(join(ROOT, "node_modules"), join(tree, "node_modules"));
    const problem = await apply(join(import.meta.dir, file), tree);
    const { found, note } = problem === null ? await simulate(tree) : { found: null, note: problem };
    return { name, found, note, seconds: (performance.now() - started) / 1000 };
  } finally {
    await rm(tree, { recursive: true, force: true });
  }
}

/** Null when the patch was applied, else why not. */
async function apply(patch: string, tree: string): Promise<string | null> {
  const applied = Bun.spawn(
    ["patch", "-p1", "--forward", "--batch", "--no-backup-if-mismatch", "-i", patch],
    {
      cwd: tree,
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  const [out, problems, code] = await Promise.all([
    applied.stdout.text(),
    applied.stderr.text(),
    applied.exited,
  ]);
  return code === 0 ? null : `the patch does not apply any more: ${`${out} ${problems}`.trim()}`;
}

async function simulate(tree: string): Promise<{ found: string | null; note: string }> {
  const command = ["scripts/simulate.ts", "--seeds", String(SEEDS), "--from", "1", "--jobs", "1", "--stop"];
  const child = Bun.spawn([process.execPath, ...command], {
    cwd: tree,
    stdout: "pipe",
    stderr: "pipe",
    timeout: LONGEST_MS,
  });
  const [out, problems] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  const found = /^seed \d+: .*: .*$/m.exec(lastStory(out));
  if (found) return { found: found[0].slice(0, 160), note: "" };
  return { found: null, note: `no invariant was broken; ${problems.trim().slice(-300)}` };
}

/** The first lines of a story speak of its seed too. */
function lastStory(out: string): string {
  return out
    .split("\n")
    .filter((line) => line.startsWith("seed "))
    .join("\n");
}
